#!/usr/bin/env python3
"""Does training through the steps pay? SA-VAE against VAE + SVI with the same K and samples.

    python docs/experiments/end_to_end.py --image=docs/images/end_to_end.png

Reads what refinement_study.py wrote. Prints, for each data set and each way to step, the bound and
the importance-weighted NLL of a system that is trained through the steps minus those of VAE +
SVI, paired by seed, and draws them. Negative is better.
"""

from pathlib import Path

import matplotlib
from absl import app, flags
from study_jobs import mean_difference, read_runs, system_of

from tf_savae.plots.palette import SYSTEM_COLOURS

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 The backend is chosen first.

FLAGS = flags.FLAGS
flags.DEFINE_string("runs", "docs/results/refinement", "folder of DATA.jsonl files")
flags.DEFINE_string("image", "docs/images/end_to_end.png", "the picture; empty: none")

PAIR = " S=2 mirrored=1"
BASE = "vae_svi K={k}"
WAYS = {  # Name: (a system that is trained through the steps, what is added to both jobs).
    "SA-VAE, plain steps": ("savae K={k} weight=0.3", ""),
    "SA-VAE, LearnedUpdate": ("savae rule=network K={k} step=0.03 weight=0.3", ""),
    "vae_svi_exact, LearnedUpdate": ("savae rule=network K={k} step=0.03 through=theta", ""),
    "SA-VAE, plain steps, antithetic pair": ("savae K={k} weight=0.3", PAIR),
    "vae_svi_exact, plain steps, antithetic pair": ("vae_svi_exact K={k}", PAIR),
    "SA-VAE, LearnedUpdate, antithetic pair": (
        "savae rule=network K={k} step=0.03 weight=0.3", PAIR),
    "vae_svi_exact, LearnedUpdate, antithetic pair": (
        "vae_svi_exact rule=network K={k} step=0.03", PAIR),
}
SETTINGS = {  # Name: (file, K, what is added to both jobs).
    "prototypes": ("prototypes", 5, ""),
    "pairs": ("pairs", 5, ""),
    "pairs,\nK = 2": ("pairs", 2, ""),
    "pairs,\nmore\nnoise": ("noisy_pairs", 5, ""),
    "pairs,\nlinear\nencoder": ("pairs_linear", 5, " encoder=linear"),
    "pairs,\nlinear\nencoder,\nK = 20": ("pairs_linear", 20, " encoder=linear"),
    "pairs,\n20,000\nrows": ("many_pairs", 5, ""),
    "MNIST": ("mnist", 5, ""),
    "Omniglot": ("omniglot", 5, ""),
    "Yahoo\ndocuments": ("documents", 5, ""),
}
COLUMNS = {"bound": "bound", "iw_nll": "IW-NLL"}


def differences(runs):
    """{(setting, way): (number of seeds, {column: mean difference})} of the pairs that ran."""
    found = {}
    for setting, (name, k, added) in SETTINGS.items():
        jobs = read_runs(Path(runs) / f"{name}.jsonl")
        for way, (ours, pair) in WAYS.items():
            mine, base = (
                jobs.get(text.format(k=k) + added + pair, {}) for text in (ours, BASE))
            if seeds := set(mine) & set(base):
                gaps = {column: mean_difference(mine, base, column) for column in COLUMNS}
                found[setting, way] = len(seeds), gaps
    return found


def table(found):
    """A Markdown table: a row for each setting, a column for each way."""
    lines = [f"| minus VAE + SVI | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 1) + "|"]
    for setting in SETTINGS:
        cells = []
        for way in WAYS:
            seeds, gaps = found.get((setting, way), (0, {}))
            numbers = " / ".join(f"{gap:+.2f}" for gap in gaps.values())
            cells.append(f"{numbers} ({seeds})" if seeds else "-")
        lines.append(f"| {setting.replace(chr(10), ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(found, path):
    """Bound and NLL minus those of VAE + SVI, a panel each."""
    figure, axes = plt.subplots(2, 1, figsize=(10, 7.5), sharex=True)
    for panel, (column, label) in zip(axes, COLUMNS.items(), strict=True):
        for index, (way, (job, pair)) in enumerate(WAYS.items()):
            color = SYSTEM_COLOURS[system_of(job.format(k=5))]
            shown = [
                (place + 0.12 * (index - 3), found[setting, way][1][column])
                for place, setting in enumerate(SETTINGS) if (setting, way) in found]
            panel.scatter(
                [x for x, _ in shown], [y for _, y in shown], label=way, color=color,
                marker="*" if "network" in job else "^", s=110 if "network" in job else 60,
                edgecolors="black" if pair else color)
        panel.axhline(0.0, color="0.6", zorder=0)
        panel.set_ylabel(f"{label} minus VAE + SVI's, nats\n(lower is better)")
    axes[1].set_xticks(range(len(SETTINGS)), SETTINGS)
    axes[1].set_xlim(-0.5, len(SETTINGS) - 0.5)
    for edge in range(len(SETTINGS) - 1):
        for panel in axes:
            panel.axvline(edge + 0.5, color="0.9", zorder=0)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=3, fontsize=8)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=110)


def main(_):
    found = differences(FLAGS.runs)
    print(table(found))
    if FLAGS.image:
        picture(found, FLAGS.image)


if __name__ == "__main__":
    app.run(main)
