"""benchmarks/samples.py and sample_variance.py: the price and the noise of S samples of z."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def _rows(script, *flags):
    """{program: numbers} of the table that a benchmark prints for the dense model."""
    command = [sys.executable, FOLDER / script, "--models=dense", *flags]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = re.findall(r"^\| dense \| (\w+) \| (.*) \|$", run.stdout, re.MULTILINE)
    return {program: [float(n) for n in numbers.split("|")] for program, numbers in lines}


@pytest.mark.e2e
def test_the_variance_of_independent_samples_falls_with_their_number():
    """Four samples have a quarter of the variance of one, within the error of 300 draws."""
    rows = _rows("sample_variance.py", "--programs=1,4,2a", "--train_steps=20", "--draws=300")
    assert list(rows) == ["1", "4", "2a"]
    assert rows["1"] == [1.0, 1.0, 1.0]
    for share in rows["4"]:
        assert 0.2 < share < 0.3


@pytest.mark.e2e
def test_prices_are_shown_against_the_first_program():
    rows = _rows("samples.py", "--programs=1,2a", "--turns=1", "--seconds=0.01", "--steps=1")
    milliseconds, ratio = rows["2a"]
    assert rows["1"][1] == 1.0
    assert milliseconds > 0 and ratio == pytest.approx(milliseconds / rows["1"][0], rel=0.05)
