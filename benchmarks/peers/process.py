"""The parent's side of a worker: ask, wait, give up."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

__all__ = ["Worker", "WorkerError"]

_CHECKOUT = Path(__file__).parents[2]
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}


class WorkerError(RuntimeError):
    """A worker failed, died or took too long; the message says which."""


class Worker:
    """A process that holds one contender.

    Args:
      threads: cores it may use.
      timeout: seconds that any one request may take.
      checkout: a checkout of this project whose code it runs; None for this one.
    """

    def __init__(self, threads, timeout, checkout=None):
        self._timeout = timeout
        root = Path(checkout or _CHECKOUT)
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(root / "benchmarks" / "peers" / "worker.py"), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_QUIET, "PYTHONPATH": path},
            text=True,
        )

    def ask(self, do, **request):
        """The answer to a request, a dict."""
        try:
            print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError(self._end()) from None
        ready, _, _ = select.select([self._process.stdout], [], [], self._timeout)
        if not ready:
            self.close()
            raise WorkerError(f"{do}: not done in {self._timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._end())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _end(self):
        return f"the process ended with status {self._process.wait()} (out of memory?)"

    def close(self):
        """Ends the process; again does nothing."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
