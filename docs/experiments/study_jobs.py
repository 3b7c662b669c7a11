"""The jobs of refinement_study.py: an objective and its settings in a line of text."""

import collections
import json
import statistics
from pathlib import Path

__all__ = ["mean_difference", "read_runs", "settings_of", "system_of"]

_DEFAULTS = {
    "K": 5, "S": 1, "step": 0.02, "rule": "plain", "weight": 0.0, "after": 0, "until": 0,
    "rate": 1.0, "epochs": 0, "encoder": "full", "through": "all",
    "mirrored": 0, "iw": 0, "path": 0.0, "test": 0, "curve": 0, "stop": "bound",
}


def settings_of(text):
    """(objective, settings) of a job's line."""
    objective, *words = text.split()
    given = dict(word.split("=") for word in words)
    unknown = set(given) - set(_DEFAULTS)
    if unknown:
        raise ValueError(f"jobs: expected settings among {sorted(_DEFAULTS)}, got {unknown}.")
    settings = {n: type(d)(given.get(n, d)) for n, d in _DEFAULTS.items()}
    if settings["stop"] not in ("bound", "iw_nll"):
        raise ValueError(f"stop: expected bound or iw_nll, got {settings['stop']}.")
    return objective, settings


def system_of(text):
    """The objective that a job trains: theta's part of SA-VAE's derivative is "vae_svi_exact"."""
    objective, settings = settings_of(text)
    theta = objective == "savae" and settings["through"] == "theta"
    return "vae_svi_exact" if theta else objective


def read_runs(path):
    """{job: {seed: numbers}} of a file that refinement_study.py wrote."""
    found = collections.defaultdict(dict)
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["job"]][row["seed"]] = row
    return found


def mean_difference(rows, base, column):
    """The mean of a column of {seed: numbers} minus that of `base`, over the seeds of both."""
    return statistics.mean(rows[seed][column] - base[seed][column] for seed in rows if seed in base)
