#!/usr/bin/env python3
"""Flags what became slower or heavier: python benchmarks/compare.py [OLD] NEW [--ratio=1.05]

OLD and NEW are JSON files of contest.py or of serving_latency.py; without OLD, NEW is compared with
what git has of it in the last commit. A row is compared with the row
of the same case and settings. Two runs never find the machine in the same state, so times are
first divided by how much the peers' times moved (their median ratio), where peers took part. The
exit status is 1 where something became worse than the ratio allows, and 2 where the files have no
row in common.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

# What is measured, and below which value a change is noise whatever its ratio.
MEASURES = {
    "median": 2e-4,
    "seconds": 2e-4,
    "compile_seconds": 5.0,
    "growth_mib": 64.0,
    "peak_mib": 64.0,
}
TIMES = ("median", "seconds")
SETTINGS = (
    "case",
    "kind",
    "steps",
    "rows",
    "contender",
    "variant",
    "mode",
)


def load(path):
    """{settings of a row: row} of a results file.

    Raises:
      ValueError: the file holds no rows.
    """
    return _rows(Path(path).read_text(encoding="utf-8"), path)


def load_committed(path):
    """As `load`, of the file as the last commit has it.

    Raises:
      ValueError: git knows no such file, or it holds no rows.
    """
    path = Path(path).resolve()
    command = ["git", "show", f"HEAD:./{path.name}"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(
            f"{path}: expected a file that the last commit has, to compare it with; git says: "
            f"{done.stderr.strip()} Give both files: compare.py OLD NEW."
        )
    return _rows(done.stdout, path)


def _rows(text, path):
    rows = json.loads(text).get("rows")
    if not rows:
        raise ValueError(f"{path}: expected results of a benchmark, with rows; found none.")
    return {_settings(row): row for row in rows}


def _settings(row):
    return tuple((name, row[name]) for name in SETTINGS if row.get(name) is not None)


def is_peer(row):
    """Whether the row is another framework's: it tells how the machine changed, not we."""
    return "contender" in row and not row["contender"].startswith("ours:")


def drift(old, new):
    """How much slower the machine was in the second run, as the peers saw it; 1 without peers.

    >>> row = {"contender": "jax:scan", "median": 1.0}
    >>> drift({1: row}, {1: {**row, "median": 3.0}})
    3.0
    """
    ratios = [
        new[key]["median"] / old[key]["median"]
        for key in old.keys() & new.keys()
        if is_peer(new[key]) and old[key].get("median") and new[key].get("median")
    ]
    return statistics.median(ratios) if ratios else 1.0


def changes(old, new):
    """[(settings, measure, before, after, ratio)] for our rows that both files have.

    A row that has figures in the first file and none in the second counts as infinitely worse.
    """
    machine, found = drift(old, new), []
    for key in (key for key in old if key in new and not is_peer(new[key])):
        for name, noise in MEASURES.items():
            before, after = old[key].get(name), new[key].get(name)
            if before is None:
                continue
            if after is None:
                found.append((key, name, before, None, float("inf")))
                continue
            scaled = after / machine if name in TIMES else after
            # A change within the noise is no change: both are raised to it.
            found.append((key, name, before, after, max(scaled, noise) / max(before, noise)))
    return found


def line(change):
    """One change in words."""
    key, name, before, after, ratio = change
    settings = ", ".join(f"{setting}={value}" for setting, value in key)
    became = "missing" if after is None else f"{after:.4g}"
    return f"{ratio:6.2f}  {name}: {before:.4g} -> {became}  ({settings})"


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", nargs="?", help="results to compare with; by default those of HEAD")
    parser.add_argument("new", help="results in question")
    parser.add_argument("--ratio", type=float, default=1.05, help="what counts as worse")
    parser.add_argument("--all", action="store_true", help="print every change")
    flags = parser.parse_args(arguments)
    if flags.ratio <= 1:
        parser.error(f"--ratio: expected a number above 1, got {flags.ratio}.")
    return flags


def main(arguments=None):
    """Prints what became worse; returns the exit status."""
    flags = parsed(arguments)
    new = load(flags.new)
    old = load_committed(flags.new) if flags.old is None else load(flags.old)
    found = changes(old, new)
    if not found:
        print("no row of ours is in both files: nothing was compared")
        return 2
    worse = [change for change in found if change[4] > flags.ratio]
    shown = found if flags.all else worse
    for change in sorted(shown, key=lambda change: -change[4]):
        print(line(change))
    print(
        f"{len(worse)} of {len(found)} figures are worse by more than {flags.ratio:g}; the "
        f"machine's own change, {drift(old, new):.2f}, is taken out of times"
    )
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
