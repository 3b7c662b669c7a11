"""benchmarks/small_products.py: a rate for each product of an oracle step, and for a large one."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "small_products.py"


def test_every_product_gets_a_rate():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--threads=1", "--repeats=1"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert not done.returncode, done.stderr
    rates = re.findall(r"(\[\d+, \d+\] x \[\d+, \d+\]) +(\d+) GFLOP/s", done.stdout)
    assert [size for size, _ in rates][:1] == ["[250, 100] x [100, 1000]"]
    assert len(rates) == 6 and all(int(rate) > 0 for _, rate in rates)
