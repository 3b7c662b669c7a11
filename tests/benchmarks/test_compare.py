"""benchmarks/compare.py: a regression is flagged, the machine's own change is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "compare.py"
RESULTS = SCRIPT.parent / "results"


def _row(contender, median, growth=500.0, **kwargs):
    row = {"case": "oracle", "kind": "train", "steps": 5, "contender": contender}
    return {**row, "median": median, "growth_mib": growth, "compile_seconds": 10.0, **kwargs}


def _compare(folder, old, new, *flags):
    paths = []
    for name, rows in (("old.json", old), ("new.json", new)):
        paths.append(folder / name)
        paths[-1].write_text(json.dumps({"rows": rows}))
    command = [sys.executable, str(SCRIPT), *map(str, paths), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_slower_is_flagged(tmp_path):
    status, text = _compare(tmp_path, [_row("ours:exact", 0.1)], [_row("ours:exact", 0.13)])
    assert status == 1
    assert "1.30  median: 0.1 -> 0.13" in text and "contender=ours:exact" in text


@pytest.mark.parametrize(("now", "status"), [(0.104, 0), (0.106, 1)])
def test_five_percent_are_a_regression(tmp_path, now, status):
    old, new = [_row("ours:exact", 0.1)], [_row("ours:exact", now)]
    assert _compare(tmp_path, old, new)[0] == status


def test_one_file_is_compared_with_the_last_commit(tmp_path):
    """What lies in the folder is the new run; git has the old one."""
    path = tmp_path / "contest.json"
    path.write_text(json.dumps({"rows": [_row("ours:exact", 0.1)]}))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", path.name], ["commit", "-qm", "results"]):
        subprocess.run([*git, *command], check=True)
    path.write_text(json.dumps({"rows": [_row("ours:exact", 0.2)]}))
    command = [sys.executable, str(SCRIPT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "2.00  median: 0.1 -> 0.2" in done.stdout
    stray = path.rename(tmp_path / "stray.json")
    done = subprocess.run([*command[:2], str(stray)], capture_output=True, text=True, check=False)
    assert "stray.json: expected a file that the last commit has" in done.stderr


def test_the_ratio_is_the_users(tmp_path):
    rows = [_row("ours:exact", 0.1)], [_row("ours:exact", 0.13)]
    assert _compare(tmp_path, *rows, "--ratio=1.5")[0] == 0


def test_a_slower_machine_is_not_our_fault(tmp_path):
    old = [_row("ours:exact", 0.1), _row("jax:scan", 0.2), _row("torch:exact", 0.3)]
    new = [_row("ours:exact", 0.2), _row("jax:scan", 0.4), _row("torch:exact", 0.6)]
    assert _compare(tmp_path, old, new)[0] == 0


def test_a_slower_peer_is_not_flagged_but_hides_nothing(tmp_path):
    old = [_row("ours:exact", 0.1), _row("jax:scan", 0.2)]
    new = [_row("ours:exact", 0.13), _row("jax:scan", 0.2)]
    status, text = _compare(tmp_path, old, new)
    assert status == 1 and "jax" not in text


def test_memory_is_not_scaled_with_the_machine(tmp_path):
    old = [_row("ours:exact", 0.1), _row("jax:scan", 0.2)]
    new = [_row("ours:exact", 0.2, growth=700.0), _row("jax:scan", 0.4)]
    status, text = _compare(tmp_path, old, new)
    assert status == 1 and "growth_mib" in text and "median" not in text


def test_a_row_without_figures_is_worse(tmp_path):
    broken = {k: v for k, v in _row("ours:exact", 0.1).items() if k != "median"}
    status, text = _compare(tmp_path, [_row("ours:exact", 0.1)], [broken])
    assert status == 1 and "missing" in text


def test_noise_of_small_figures_is_no_change(tmp_path):
    old, new = [_row("ours:exact", 0.1, growth=2.0)], [_row("ours:exact", 0.1, growth=30.0)]
    assert _compare(tmp_path, old, new)[0] == 0


def test_nothing_in_common_is_said(tmp_path):
    status, text = _compare(tmp_path, [_row("ours:exact", 1)], [_row("ours:exact", 1, steps=9)])
    assert status == 2 and "nothing was compared" in text


_TIMED = [path for name in ("contest", "serving_latency") for path in RESULTS.glob(f"{name}*.json")]


@pytest.mark.parametrize("path", sorted(_TIMED), ids=lambda path: path.name)
def test_committed_results_can_be_compared(path):
    command = [sys.executable, str(SCRIPT), str(path), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
