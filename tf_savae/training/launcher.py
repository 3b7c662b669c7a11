"""Launches the processes of a multi-worker run, and restarts them together on failure.

If one process fails, the others fail, too, since they wait for it in a collective operation. The
training commands resume at their latest checkpoint, so all processes are stopped and restarted, up
to a limit of consecutive failures.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tf_savae.core import validation

__all__ = ["RestartLimits", "cluster", "supervise"]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl
_POLL = 0.1  # seconds


class RestartLimits(NamedTuple):
    """Limits of restarts; times are in seconds.

    Attributes:
      restarts: largest number of consecutive restarts.
      healthy: an attempt that ran for longer than this resets the count of consecutive failures.
      grace: time for the other workers to end after one has failed, and again after SIGTERM.
      pause: pause before the first restart; it doubles before each further restart, up to a minute.
    """

    restarts: int = 5
    healthy: float = 600.0
    grace: float = 20.0
    pause: float = 1.0


def cluster(workers: int, hosts: Sequence[str] = ()) -> list[str]:
    """Returns the addresses of all workers, "host:port", in the order of their index.

    Args:
      workers: number of processes on this machine; they get ports that are currently free.
      hosts: addresses of processes on several machines; if given, `workers` is ignored.

    >>> len(cluster(2)), cluster(2, ["a:5000", "b:5000"])
    (2, ['a:5000', 'b:5000'])
    """
    if hosts:
        return list(hosts)
    sockets = [socket.socket() for _ in range(validation.positive_int("workers", workers))]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return [f"127.0.0.1:{port}" for port in ports]


def supervise(
    command: Sequence[str],
    workers: int = 2,
    *,
    hosts: Sequence[str] = (),
    index: int | None = None,
    limits: RestartLimits | None = None,
    say: Callable[[str], Any] = print,
) -> int:
    """Runs a command in several workers until all of them succeed.

    Each worker gets the environment variable TF_CONFIG, and a prefix for its output lines.

    Args:
      command: list of the program and its arguments, the same for every worker.
      workers: number of workers on this machine.
      hosts: alternatively, the addresses of the workers on all machines; then `index` is required.
      index: index in `hosts` of the worker to run on this machine.
      limits: `RestartLimits`.
      say: called with each output line of the supervisor and of the workers. If it raises OSError
        or ValueError, the line is lost without further effect.

    Returns:
      The exit status: 0 on success, 128 + n if signal n ended the supervisor, else the status of
      the worker that failed first in the last attempt.

    Raises:
      ValueError: the arguments are inconsistent.
    """
    _check(command, hosts, index)
    supervisor = _Supervisor(command, workers, list(hosts), index, limits or RestartLimits(), say)
    before = {number: signal.signal(number, supervisor.forward) for number in _FORWARDED}
    try:
        return supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(command, hosts, index):
    if not command:
        raise ValueError("command: expected the program that each worker runs, got nothing.")
    if (index is None) != (not hosts):
        raise ValueError(
            "hosts, index: expected both (several machines) or none (this one alone); got "
            f"hosts={list(hosts)}, index={index}."
        )
    if hosts and not 0 <= index < len(hosts):
        raise ValueError(f"index: expected 0 to {len(hosts) - 1}, one of hosts; got {index}.")


class _Supervisor:
    """Runs the attempts of one run and handles signals."""

    def __init__(self, command, workers, hosts, index, limits, say):
        self._command, self._workers, self._hosts = command, workers, hosts
        self._index, self._limits, self._say = index, limits, say
        self._running, self._signal = {}, None

    def forward(self, number, frame):
        """Signal handler: forwards a signal to all workers and disables restarts."""
        del frame
        self._signal = number
        self._send(number)

    def _send(self, number):
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(number)

    def run(self):
        failures = 0
        while True:
            began = time.monotonic()
            status = self._attempt(failures)
            if self._signal is not None:
                self._log(f"terminated by {signal.Signals(self._signal).name}")
                return 128 + self._signal
            if status == 0:
                self._log("all workers succeeded")
                return 0
            lasted = time.monotonic() - began
            failures = 1 if lasted > self._limits.healthy else failures + 1
            if failures > self._limits.restarts:
                self._log(f"stopping after {failures} consecutive failures; status {status}")
                return status
            self._pause(failures)

    def _pause(self, failures):
        seconds = min(60.0, self._limits.pause * 2 ** (failures - 1))
        self._log(
            f"restart {failures} of at most {self._limits.restarts} in {seconds:g} s; the run "
            "resumes from its latest checkpoint"
        )
        end = time.monotonic() + seconds
        while self._signal is None and time.monotonic() < end:
            time.sleep(_POLL)

    def _attempt(self, failures):
        """Starts the workers, waits for them, and returns the status of the first that failed."""
        addresses = cluster(self._workers, self._hosts)
        here = range(len(addresses)) if self._index is None else [self._index]
        self._running = {i: self._start(addresses, i) for i in here}
        pids = ", ".join(f"{i}: {process.pid}" for i, process in self._running.items())
        self._log(f"attempt {failures + 1}: {len(addresses)} workers, process ids {pids}")
        printers = [self._print(i, process) for i, process in self._running.items()]
        if self._signal is not None:  # It arrived while the workers were started.
            self._send(self._signal)
        status = self._watch()
        for printer in printers:
            printer.join(timeout=self._limits.grace)  # A subprocess may hold the pipe.
        return status

    def _start(self, addresses, index):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        return subprocess.Popen(
            self._command,
            env={**os.environ, "TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )

    def _print(self, index, process):
        def lines():
            for line in process.stdout:
                self._tell(f"[worker {index}] {line.rstrip()}")

        thread = threading.Thread(target=lines, daemon=True)
        thread.start()
        return thread

    def _watch(self):
        """Waits for all workers; stops them after a failure or a signal; returns the status."""
        first = deadline = None
        asked = False
        while any(process.poll() is None for process in self._running.values()):
            failed = [i for i, process in self._running.items() if process.poll()]
            if failed and first is None:
                first = failed[0]
                self._log(f"worker {first} ended with {_status(self._running[first])}")
            if deadline is None and (failed or self._signal is not None):
                deadline = time.monotonic() + self._limits.grace
            if deadline is not None and time.monotonic() > deadline:
                self._send(signal.SIGKILL if asked else signal.SIGTERM)
                asked, deadline = True, time.monotonic() + self._limits.grace
            time.sleep(_POLL)
        statuses = {i: process.returncode for i, process in self._running.items()}
        failed = [i for i, status in statuses.items() if status]
        if failed and first is None:
            first = failed[0]
            self._log(f"worker {first} ended with {_status(self._running[first])}")
        code = statuses[first] if failed else 0
        return code if code >= 0 else 128 - code

    def _log(self, text):
        self._tell(f"[launch {time.strftime('%H:%M:%S')}] {text}")

    def _tell(self, line):
        """Outputs a line and ignores failures, so that a full disk or a closed pipe is harmless.

        An exception here would end the reading thread, and the worker would then block forever
        once its pipe is full.
        """
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed, or not encodable.
            self._say(line)


def _status(process):
    code = process.returncode
    return f"status {code}" if code >= 0 else signal.Signals(-code).name


def _end_with_parent():
    """Makes the kernel kill this new worker when the supervisor ends."""
    ctypes.CDLL(None).prctl(_KILL_WITH_PARENT, signal.SIGKILL)
