"""--help of every command: at once, without TensorFlow, and no error."""

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
PROGRAM = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("loaded:", sorted({"tensorflow", "keras"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("script", sorted(BIN.glob("*.py")), ids=lambda path: path.name)
def test_help(script):
    program = [sys.executable, "-c", PROGRAM, str(script)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "loaded: []\n")
    assert f"{script.name}" in done.stdout and "--" in done.stdout


def test_a_flag_that_is_not_there_is_an_error():
    program = [sys.executable, str(BIN / "train_text.py"), "--no_such_flag=1"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no_such_flag" in done.stderr
