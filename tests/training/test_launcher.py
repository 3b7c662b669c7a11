"""The supervisor of workers: restarts, bounds, signals, several machines; no TensorFlow inside."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tf_savae.training import launcher

SCRIPT = Path(__file__).resolve().parents[2] / "bin" / "launch_workers.py"
QUICK = launcher.RestartLimits(restarts=2, healthy=60.0, grace=1.0, pause=0.05)
INDEX = "import json, os, sys, time; i = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def _run(program, workers=2, limits=QUICK, **kwargs):
    """(exit status, lines said) of workers that run a Python program."""
    lines = []
    command = [sys.executable, "-c", INDEX + program]
    status = launcher.supervise(command, workers, limits=limits, say=lines.append, **kwargs)
    return status, lines


def test_all_end_well_and_their_lines_are_told_apart():
    status, lines = _run("print('hello from', i); print(os.environ['TF_CONFIG'], file=sys.stderr)")
    assert status == 0
    assert {"[worker 0] hello from 0", "[worker 1] hello from 1"} <= set(lines)
    (config,) = {re.sub(r'"index": \d', "", line.split(" ", 2)[2]) for line in lines if "{" in line}
    assert len(set(re.findall(r"127\.0\.0\.1:\d+", config))) == 2
    assert "all workers succeeded" in lines[-1]


def test_a_killed_worker_restarts_all_once(tmp_path):
    """The other one waits in vain, as in a sum, and is ended; the second attempt succeeds."""
    program = f"""
import pathlib, signal
mark = pathlib.Path({str(tmp_path)!r}, f"began{{i}}")
if not mark.exists():
    mark.touch()
    while i == 1:  # Once the other one has begun too, however busy the machine is.
        if mark.with_name("began0").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
    time.sleep(600)
"""
    status, lines = _run(program)
    text = "\n".join(lines)
    assert status == 0
    assert "worker 1 ended with SIGKILL" in text
    assert "restart 1 of at most 2" in text and "attempt 2" in text and "attempt 3" not in text


def test_restarts_are_bounded_and_the_status_is_the_first_failure():
    status, lines = _run("sys.exit(7 if i else 0)")
    assert status == 7
    assert sum("attempt" in line for line in lines) == 3
    assert "stopping after 3 consecutive failures" in lines[-1]


def test_a_run_that_lasted_begins_a_new_row(tmp_path):
    """Four failures are more than two restarts, but never in a row."""
    program = f"""
import pathlib
count = len(list(pathlib.Path({str(tmp_path)!r}).iterdir()))
pathlib.Path({str(tmp_path)!r}, str(count)).touch()
time.sleep(0.3)
sys.exit(0 if count == 4 else 1)
"""
    status, lines = _run(program, workers=1, limits=QUICK._replace(healthy=0.1))
    assert status == 0 and sum("attempt" in line for line in lines) == 5


def test_a_worker_that_ignores_being_asked_is_killed(tmp_path):
    program = """
import signal
if i == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
time.sleep(1)
sys.exit(3)
"""
    limits = QUICK._replace(restarts=0, grace=0.3)
    assert _run(program, limits=limits)[0] == 3


def test_signals_reach_the_workers_and_end_the_run():
    program = """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
time.sleep(60)
"""
    seen = []
    ready = threading.Semaphore(0)

    def say(line):
        seen.append(line)
        if line.endswith("ready"):
            ready.release()

    def send():
        for _ in range(2):
            ready.acquire()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    command = [sys.executable, "-c", INDEX + program]
    assert launcher.supervise(command, 2, limits=QUICK, say=say) == 128 + signal.SIGTERM
    assert "terminated by SIGTERM" in seen[-1] and not any("restart" in line for line in seen)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
@pytest.mark.parametrize("unsaid", ["[worker", "[launch"])
def test_who_cannot_print_goes_on_supervising(tmp_path, unsaid, error):
    """The worker says more than a pipe holds: if nobody drained it, it would never end."""
    program = f"""
import pathlib
mark = pathlib.Path({str(tmp_path / "began")!r})
again = mark.exists()
mark.touch()
print(("x" * 99 + "\\n") * 3000)
sys.exit(0 if again else 3)
"""
    said = []

    def say(line):
        if line.startswith(unsaid):
            raise error
        said.append(line)

    command = [sys.executable, "-c", INDEX + program]
    cut_off = threading.Timer(30, os.kill, (os.getpid(), signal.SIGTERM))
    cut_off.start()
    try:
        assert launcher.supervise(command, 1, limits=QUICK, say=say) == 0
    finally:
        cut_off.cancel()
    assert len(said) == (5 if unsaid == "[worker" else 2 * 3001)


def test_one_machine_of_several_runs_its_own_worker():
    status, lines = _run("print(os.environ['TF_CONFIG'])", hosts=["a:1", "b:2"], index=1)
    (said,) = [line for line in lines if line.startswith("[worker")]
    assert status == 0 and said.startswith("[worker 1]")
    assert '"worker": ["a:1", "b:2"]' in said and '"index": 1' in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(command=[]), "command: expected the program"),
        (dict(hosts=["a:1"]), "expected both"),
        (dict(index=0), "expected both"),
        (dict(hosts=["a:1"], index=1), "index: expected 0 to 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        launcher.supervise(**{"command": ["true"], **arguments})


def test_the_command_line():
    program = "import os; print('port' if 'TF_CONFIG' in os.environ else 'none', flush=True)"
    environment = {**os.environ, "PYTHONPATH": str(Path(launcher.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--workers=1", "--", sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[worker 0] port" in done.stdout
