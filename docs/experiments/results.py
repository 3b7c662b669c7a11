#!/usr/bin/env python3
"""The tables and curves of docs/results_images.md, and of LSTMs on 40 words of Yahoo in results.md.

    python docs/experiments/results.py --runs=RUNS --name=text --output=docs

RUNS holds one folder a run, named SYSTEM-SEED, each with report.json and history.json. All runs are
of one data set, of bin/train_text.py or of bin/train_image.py. RUNS may also be the NAME.json that
this program wrote: table and curves are then made anew from it. Curves need a run of the baseline,
"autoregressive".
"""

import collections
import json
import statistics
from pathlib import Path

import matplotlib
from absl import app, flags

from tf_savae.plots.palette import SYSTEM_COLOURS

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 The backend is chosen first.

FLAGS = flags.FLAGS
flags.DEFINE_string("runs", None, "folder of the runs", required=True)
flags.DEFINE_string("name", None, "of the data, as the files are to be called", required=True)
flags.DEFINE_string("output", "docs", "folder that gets results/NAME.json and images/NAME_*.png")

NAMES = {
    "autoregressive": "no latent variables",
    "vae": "VAE",
    "svi": "SVI",
    "vae_svi": "VAE + SVI",
    "vae_svi_pair": "VAE + SVI, antithetic pair",
    "vae_svi_kl": "VAE + SVI + KL",
    "savae": "SA-VAE",
    "savae_learned": "SA-VAE, LearnedUpdate",
    "exact_learned": "vae_svi_exact, LearnedUpdate",
    "vae_long": "VAE",
    "vae_longer": "VAE",
    "vae_longest": "VAE",
    "vae_slow": "VAE, KL weight annealed over 10 epochs",
    "early": "SA-VAE, LearnedUpdate, for 4 epochs, then VAE",
    "vae_svi_long": "VAE + SVI",
    "recipe": "20 epochs of VAE, then SA-VAE",
    "recipe_learned": "20 epochs of VAE, then SA-VAE, LearnedUpdate",
    "vae28": "VAE, where the next ones start",
    "then_vae": "VAE",
    "then_pair": "VAE + SVI, antithetic pair",
    "then_pair1": "VAE + SVI, antithetic pair",
    "then_exact_pair": "vae_svi_exact, antithetic pair",
    "then_path": "vae_svi_exact, LearnedUpdate, K = 3, path_weight=1",
    "then_learned_pair": "the same, antithetic pair",
    "then_vae_pair": "VAE, and again VAE + SVI, antithetic pair",
    "then_slower": "SA-VAE, LearnedUpdate, a third of the rate",
    "then_slowest": "SA-VAE, LearnedUpdate, a tenth of the rate",
    "then_more": "SA-VAE, LearnedUpdate, 5 epochs more",
    "then_more_slower": "SA-VAE, LearnedUpdate, 5 epochs more, then a quarter of the rate",
}
SECOND = "then_"  # Runs that start from the weights of another one; their tables stand apart.
# The systems of the palette have its colours; variants of one are dashed.
STYLES = {
    "vae_svi_pair": (SYSTEM_COLOURS["vae_svi"], "--"),
    "savae_learned": (SYSTEM_COLOURS["savae"], ":"),
    "exact_learned": (SYSTEM_COLOURS["vae_svi_exact"], ":"),
}
COLUMNS = ("bound", "kl", "amortized_bound", "iw_nll", "iw_ppl", "active_units")
BASELINE = "autoregressive"


def read(folder):
    """{system: {seed: (report, history)}} of the finished runs, or of the file they are kept in."""
    if Path(folder).is_file():
        return json.loads(Path(folder).read_text(encoding="utf-8"))
    found = collections.defaultdict(dict)
    for path in sorted(Path(folder).glob("*-*")):
        if (path / "report.json").exists():
            system, seed = path.name.rsplit("-", 1)
            parts = [json.loads((path / n).read_text()) for n in ("report.json", "history.json")]
            found[system][int(seed)] = parts
    return found


def tables(found):
    """Markdown tables: systems with the fewest epochs, those with more, and second stages."""
    least = _least_epochs(_first_stages(found))
    groups = {}, {}, {}
    for system in [name for name in NAMES if name in found]:
        epochs = max(report["epochs"] for report, _ in found[system].values())
        groups[2 if system.startswith(SECOND) else epochs > least][system] = found[system]
    return [table(group) for group in groups if group]


def table(found):
    """A Markdown table: means over the seeds, and seconds of training on one core."""
    tests = {s: [report["test"] for report, _ in runs.values()] for s, runs in found.items()}
    columns = [c for c in COLUMNS if any(c in test for runs in tests.values() for test in runs)]
    lines = ["| system | seeds | " + " | ".join([*columns, "epochs", "seconds"]) + " |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    for system, runs in found.items():
        cells = [NAMES[system], str(len(runs))]
        cells += [cell([test.get(column) for test in tests[system]]) for column in columns]
        cells.append(f"{statistics.mean(report['epochs'] for report, _ in runs.values()):.0f}")
        cells.append(f"{min(seconds(history) for _, history in runs.values()):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seconds(history):
    """Seconds of all training steps, each K's at the speed of its fastest epoch.

    A machine that other work shares changes its speed from run to run, and within a run.

    >>> seconds([{"step": 10, "step_seconds": 0.5}, {"step": 30, "step_seconds": 0.4}])
    12.0
    """
    counts, fastest = collections.Counter(), {}
    before = 0
    for row in history:
        k = row.get("steps")
        counts[k] += row["step"] - before
        fastest[k] = min(row["step_seconds"], fastest.get(k, row["step_seconds"]))
        before = row["step"]
    return sum(count * fastest[k] for k, count in counts.items())


def _first_stages(found):
    return {system: runs for system, runs in found.items() if not system.startswith(SECOND)}


def _least_epochs(found):
    return min(len(history) for runs in found.values() for _, history in runs.values())


def cell(values):
    """Mean and half the range of what the seeds gave."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    spread = (max(values) - min(values)) / 2
    return f"{statistics.mean(values):.2f}" + (f" ± {spread:.2f}" if len(values) > 1 else "")


def curves(found, quantity, label, path, less=None):
    """Validation `quantity` against epochs, a line per system: mean over seeds, range shaded.

    With `less`, a system's name, its mean at the same epoch is taken away from all. Systems that
    train for more epochs than the others are left out.
    """
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    base = [statistics.mean(c) for c in _columns(found[less], quantity)] if less else None
    least = _least_epochs(found)
    for system in NAMES:
        columns = _columns(found.get(system, {}), quantity)
        if not columns or system == less or len(columns) > least:
            continue
        zero = base or [0.0] * len(columns)
        columns = [[v - z for v in column] for column, z in zip(columns, zero, strict=True)]
        epochs = range(1, len(columns) + 1)
        mean = [statistics.mean(c) for c in columns]
        color, style = STYLES.get(system) or (SYSTEM_COLOURS[system], "-")
        axes.plot(epochs, mean, style, label=NAMES[system], color=color)
        low, high = [min(c) for c in columns], [max(c) for c in columns]
        axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    if less:
        axes.axhline(0.0, color=SYSTEM_COLOURS[less], linewidth=0.8, label=NAMES[less])
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
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
    (output / "results" / f"{FLAGS.name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    pictures, first = output / "images", _first_stages(found)
    label = f"validation bound less that of\n{NAMES[BASELINE]} (nats; lower is better)"
    if BASELINE in first:
        curves(first, "bound", label, pictures / f"{FLAGS.name}_bound.png", less=BASELINE)
        curves(first, "kl", "validation KL (nats per example)", pictures / f"{FLAGS.name}_kl.png")
    print("\n\n".join(tables(found)))


if __name__ == "__main__":
    app.run(main)
