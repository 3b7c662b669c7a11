"""What the tests of a file share is built once, though two workers run them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARING = """
import os, pathlib, time
import pytest

@pytest.fixture(scope="module")
def built():
    with pathlib.Path(__file__).with_suffix(".built").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)

@pytest.mark.parametrize("number", range(4))
def test_that_shares(built, number):
    time.sleep(0.2)
"""


@pytest.mark.e2e
def test_a_module_fixture_is_built_once(tmp_path):
    shutil.copy(Path(__file__).parent.parent / "conftest.py", tmp_path)
    for name in ("test_one", "test_two"):
        (tmp_path / f"{name}.py").write_text(SHARING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e\n")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    workers = [path.read_text().split() for path in sorted(tmp_path.glob("*.built"))]
    assert sorted(workers) == [["gw0"], ["gw1"]]
