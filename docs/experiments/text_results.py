#!/usr/bin/env python3
"""Table and curves of docs/results.md from the folders that bin/train_text.py wrote.

    python docs/experiments/text_results.py --runs=RUNS --output=docs

RUNS holds one folder a run, named SYSTEM-SEED, each with report.json and history.json.
"""

import collections
import json
import statistics
from pathlib import Path

import matplotlib
from absl import app, flags

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 The backend is chosen first.

FLAGS = flags.FLAGS
flags.DEFINE_string("runs", None, "folder of the runs", required=True)
flags.DEFINE_string("output", "docs", "folder that gets results/text.json and images/text_*.png")

NAMES = {
    "autoregressive": "LSTM-LM",
    "vae": "VAE",
    "svi": "SVI",
    "vae_svi": "VAE + SVI",
    "vae_svi_kl": "VAE + SVI + KL",
    "savae": "SA-VAE (exact)",
    "reference": "SA-VAE, the 2018 clipping",
    "savae_short": "SA-VAE (exact), steps of 0.1",
    "reference_short": "SA-VAE, the 2018 clipping, steps of 0.1",
}
COLUMNS = ("bound", "kl", "amortized_bound", "iw_nll", "iw_ppl", "active_units")


def read(folder):
    """{system: {seed: (report, history)}} of the finished runs."""
    found = collections.defaultdict(dict)
    for path in sorted(Path(folder).glob("*-*")):
        if (path / "report.json").exists():
            system, seed = path.name.rsplit("-", 1)
            parts = [json.loads((path / n).read_text()) for n in ("report.json", "history.json")]
            found[system][int(seed)] = parts
    return found


def table(found):
    """The Markdown table: mean over seeds, and each seed's value where there are two."""
    lines = ["| system | seeds | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for system in [name for name in NAMES if name in found]:
        reports = [report | report["test"] for report, _ in found[system].values()]
        cells = [NAMES[system], str(len(reports))]
        cells += [cell([r.get(column) for r in reports]) for column in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values):
    """Mean and half the range of what the seeds gave."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    spread = (max(values) - min(values)) / 2
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


def curves(found, quantity, label, path, less=None):
    """Validation `quantity` against epochs, a line per system: mean over seeds, range shaded.

    With `less`, a system's name, its mean at the same epoch is taken away from all.
    """
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    base = [statistics.mean(c) for c in _columns(found[less], quantity)] if less else None
    for number, system in enumerate(NAMES):
        columns = _columns(found.get(system, {}), quantity)
        if not columns or system == less:
            continue
        zero = base or [0.0] * len(columns)
        columns = [[v - z for v in column] for column, z in zip(columns, zero, strict=True)]
        epochs = range(1, len(columns) + 1)
        mean, color = [statistics.mean(c) for c in columns], f"C{number}"
        axes.plot(epochs, mean, label=NAMES[system], color=color)
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    if less:
        axes.axhline(0.0, color="black", linewidth=0.8, label=NAMES[less])
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _columns(runs, quantity):
    """For each epoch, what the seeds gave; empty where the system has no such quantity."""
    series = [[row.get(f"val_{quantity}") for row in history] for _, history in runs.values()]
    columns = list(zip(*series, strict=False))
    return [] if any(value is None for column in columns for value in column) else columns


def main(argv):
    found = read(FLAGS.runs)
    output = Path(FLAGS.output)
    for name in ("results", "images"):
        (output / name).mkdir(parents=True, exist_ok=True)
    kept = {s: {seed: list(p) for seed, p in runs.items()} for s, runs in found.items()}
    (output / "results" / "text.json").write_text(json.dumps(kept, indent=1) + "\n")
    label = "validation bound less the LSTM-LM's\n(nats per document)"
    curves(found, "bound", label, output / "images" / "text_bound.png", less="autoregressive")
    curves(found, "kl", "validation KL (nats per document)", output / "images" / "text_kl.png")
    print(table(found))


if __name__ == "__main__":
    app.run(main)
