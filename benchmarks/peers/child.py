"""A script's own child: one measurement in a fresh process, so that its peak memory is its own."""

import json
import os
import subprocess
import sys

__all__ = ["answer_of"]

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "PASSIVE"}


def answer_of(script, task, timeout=None):
    """The JSON that `script --child TASK` prints last, or {"problem": why there is none}.

    Args:
      script: a Python file's path.
      task: what JSON can hold; the child receives it as the value of --child.
      timeout: seconds after which the child is killed; None: as long as it takes.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
    ...     written = script.write("import sys; print(sys.argv[2])")
    ...     script.flush()
    ...     answer_of(script.name, {"K": 5})
    {'K': 5}
    """
    command = [sys.executable, str(script), "--child", json.dumps(task)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **_QUIET}
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"not done in {timeout:.0f} s"}
    if done.returncode < 0:
        return {"problem": f"ended by signal {-done.returncode}"}
    if done.returncode:
        return {"problem": (done.stderr.strip().splitlines() or ["?"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])
