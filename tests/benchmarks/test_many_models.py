"""benchmarks/many_models.py: memory that stays after a model is deleted."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "many_models.py"


def test_deleted_models_are_freed():
    command = [sys.executable, PROGRAM, "--case=savae graph", "--models=2"]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    ((growth, alive),) = re.findall(r"^\| SA-VAE.* \| (-?\d+) \| (\d+) \|$", run.stdout, re.M)
    assert int(alive) == 0
    assert int(growth) < 200  # Of data and weights alone a model has 0.2 MiB.
