#!/usr/bin/env python3
"""The tables and the picture of docs/results.md, from what refinement_study.py wrote.

    python docs/experiments/refinement_results.py --runs=docs/results/refinement

RUNS holds DATA.jsonl files. Prints a Markdown table for each, with a verdict computed from it, and
a second one of the ablation: which part of the total derivative trains, for each update rule.
Jobs with curve=1 have a table of the bound against K at test time; they are in DATA_curve.jsonl, or
else in DATA.jsonl. The picture shows each system's bound and importance-weighted NLL against its
training time, less those of the VAE. A row's numbers are means over its seeds.
"""

import statistics
from pathlib import Path

import matplotlib
from absl import app, flags
from study_jobs import mean_difference, read_runs, settings_of, system_of

from tf_savae.plots.palette import SYSTEM_COLOURS

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 The backend is chosen first.
from matplotlib import ticker  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("runs", "docs/results/refinement", "folder of DATA.jsonl files")
flags.DEFINE_string("image", "docs/images/refinement_study.png", "the picture; empty: none")
flags.DEFINE_string("jobs_of", "", "only print the jobs of this data set, for refinement_study.py")

SYSTEMS = {
    "vae": "VAE", "svi": "SVI", "vae_svi": "VAE + SVI", "vae_svi_kl": "VAE + SVI + KL",
    "savae": "SA-VAE", "vae_svi_exact": "vae_svi_exact",
}
RULES = {"plain": "", "natural": "natural gradient", "steps": "LearnedSteps",
         "network": "LearnedUpdate"}
PARTS = {
    "all": "",
    "encoder": "the encoder's part alone",
    "theta": "theta's and the rule's part; the encoder on its own ELBO (vae_svi_exact)",
    "identity": "straight through",
    "reference": "products of 2018",
}
TITLES = {
    "pairs": "Pairs of prototypes, exclusive or",
    "pairs_linear": "The same, a linear encoder",
    "pairs_iw": "The same, an importance-weighted bound at lambda_K",
    "pairs_nll": "The same, stopped by the NLL",
    "many_pairs": "Pairs of prototypes, 20,000 rows",
    "noisy_pairs": "Pairs of prototypes, a fifth of the bits flipped",
    "prototypes": "Prototypes (array tutorial)",
    "mnist": "MNIST, 10,000 images",
    "omniglot": "Omniglot, 10,000 images",
    "oracle": "Sentences of the oracle",
    "fresh_oracle": "Sentences of the oracle, none seen twice",
    "ptb": "Sentences of PTB",
    "yahoo": "Yahoo answers, the first 20 words",
    "documents": "Yahoo documents as bags of words",
}
ABLATION = {
    "steps of 0.02": "savae K=5",
    "steps of 0.1": "savae K=5 step=0.1",
    "LearnedUpdate": "savae rule=network K=5 step=0.03",
}
MAIN = ("savae K=5", "savae rule=network K=5 step=0.03 through=theta")  # In the first table, too.
OURS = ("savae", "vae_svi_exact")  # Trained through the steps.
COLUMNS = ("bound", "iw_nll", "kl", "encoder", "seconds", "epochs")


def read(path):
    """{job: {seed: numbers}} of a file, in the order of the systems and their rules."""
    found = read_runs(path)
    return {job: found[job] for job in sorted(found, key=_place)}


def _place(job):
    objective, settings = settings_of(job)
    place = [list(known).index(name) for known, name in (
        (SYSTEMS, objective), (RULES, settings["rule"]), (PARTS, settings["through"]))]
    return *place, settings["weight"], settings["K"], settings["step"], settings["path"]


def name_of(job):
    """A job in words: what differs from the defaults.

    >>> name_of("savae rule=network K=3 step=0.03 weight=0.3")
    'SA-VAE, LearnedUpdate, K = 3'
    """
    objective, settings = system_of(job), settings_of(job)[1]
    savae, rule = objective == "savae", settings["rule"]
    parts = [SYSTEMS[objective], RULES[rule], "" if objective == "vae" else f"K = {settings['K']}"]
    if settings["step"] not in (0.02, 0.03):
        parts.append(f"steps of {settings['step']:g}")
    if savae and settings["through"] == "all" and not settings["weight"]:
        parts.append("amortized_weight=0")
    if savae:
        parts.append(PARTS[settings["through"]])
    if settings["after"]:
        parts.append(f"after {settings['after']} epochs of VAE")
    if settings["until"]:
        parts.append(f"K = 0 from step {settings['until']}")
    if settings["encoder"] != "full":
        parts.append(f"{settings['encoder']} encoder")
    if settings["S"] > 1:
        mirrored = ", antithetic" if settings["mirrored"] else ""
        parts.append(f"S = {settings['S']}{mirrored}")
    if settings["path"]:
        parts.append(f"path_weight={settings['path']:g}")
    if settings["test"]:
        parts.append(f"K = {settings['test']} at test time")
    if settings["iw"]:
        parts.append(f"importance-weighted, {settings['iw']} samples")
    if settings["stop"] != "bound":
        parts.append("stopped by the NLL")
    if settings["epochs"]:
        parts.append(f"{settings['epochs']} epochs")
    return ", ".join(filter(None, parts))


def means(rows, column):
    """The mean over a job's seeds."""
    return statistics.mean(row[column] for row in rows.values())


def table(found):
    """A Markdown table; each row says how many seeds it has."""
    lines = ["| system | seeds | bound | IW-NLL | KL | encoder's own bound | CPU s | epochs |"]
    lines.append("|---" * 8 + "|")
    for job, rows in found.items():
        cells = [f"{means(rows, column):.2f}" for column in COLUMNS[:4]]
        cells += [f"{means(rows, column):.0f}" for column in COLUMNS[4:]]
        lines.append(f"| {name_of(job)} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ablation(found):
    """(jobs, table): the part that trains, by update rule; no jobs where few of them ran.

    Means over the seeds that all of these jobs have.
    """
    by_settings = {str(settings_of(job)): job for job in found}
    wanted = [settings_of(f"{job} through={part}") for job in ABLATION.values() for part in PARTS]
    ran = [found[by_settings[s]] for s in map(str, wanted) if s in by_settings]
    seeds = set.intersection(*map(set, ran)) if ran else set()
    lines = [f"| what trains, amortized_weight=0 | {' | '.join(ABLATION)} |"]
    lines.append("|---" * (len(ABLATION) + 1) + "|")
    jobs = set()
    for part, words in PARTS.items():
        cells = [words or "the total derivative"]
        for text in ABLATION.values():
            job = by_settings.get(str(settings_of(f"{text} through={part}")))
            cells.append(_cell(found[job], seeds) if job else "-")
            jobs |= {job} - {None}
        lines.append(f"| {' | '.join(cells)} |")
    return (jobs, "\n".join(lines)) if len(jobs) > 3 else (set(), "")


def _cell(rows, seeds):
    rows = {seed: rows[seed] for seed in seeds}
    return " / ".join(f"{means(rows, c):.2f}" for c in ("bound", "iw_nll", "encoder"))


def curves(found):
    """A Markdown table: bound, or bound / NLL, of each job against K at test time.

    Of the jobs with the most seeds; means over the seeds that all of them have.
    """
    most = max(map(len, found.values()))
    found = {job: rows for job, rows in found.items() if len(rows) == most}
    seeds = set.intersection(*map(set, found.values()))
    found = {job: {seed: rows[seed] for seed in seeds} for job, rows in found.items()}
    first = next(iter(next(iter(found.values())).values()))
    lines = [f"| trained | seeds | {' | '.join(f'K = {k}' for k in first['curve'])} |"]
    lines.append("|---" * (len(first["curve"]) + 2) + "|")
    for job, rows in found.items():
        cells = []
        for k in first["curve"]:
            names = ("curve", "nll_curve") if k in first["nll_curve"] else ("curve",)
            means_of = [statistics.mean(row[name][k] for row in rows.values()) for name in names]
            cells.append(" / ".join(f"{mean:.2f}" for mean in means_of))
        lines.append(f"| {name_of(job)} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(found):
    """One sentence: the best system by bound and by NLL, and SA-VAE's distance from others.

    The best is the one furthest below the VAE of the same seeds, among the systems that have at
    least half of the VAE's seeds.
    """
    base = next(rows for job, rows in found.items() if settings_of(job)[0] == "vae")
    enough = {job: rows for job, rows in found.items() if len(rows) >= len(base) / 2}
    ours = {job: rows for job, rows in enough.items() if system_of(job) in OURS}
    rest = {job: rows for job, rows in enough.items() if system_of(job) not in OURS}
    if not ours or not rest:
        return ""
    said = []
    for column, name in (("bound", "Bound"), ("iw_nll", "IW-NLL")):
        best, other = (
            min(group, key=lambda j, g=group: mean_difference(g[j], base, column))
            for group in (ours, rest)
        )
        seeds = set(ours[best]) & set(rest[other])
        gaps = [ours[best][s][column] - rest[other][s][column] for s in seeds]
        wins = sum(gap < 0 for gap in gaps)
        gap = mean_difference(ours[best], rest[other], column)
        said.append(
            f"{name}: *{name_of(best)}* is {abs(gap):.2f} nats {'below' if gap < 0 else 'above'} "
            f"*{name_of(other)}*, the best of the others (lower in {wins} of {len(gaps)} seeds)")
    left_out = len(found) - len(enough)
    note = f" Rows with fewer than half of the VAE's seeds ({left_out}) are not compared."
    return "; ".join(said) + "." + note * bool(left_out)


def picture(data, path):
    """Bound and NLL less the VAE's against CPU seconds of training: two panels a data set."""
    across = -(-len(data) // 2)  # Two blocks of data sets, one above the other.
    figure, axes = plt.subplots(4, across, figsize=(4.4 * across, 14), squeeze=False)
    for place, (name, found) in enumerate(data.items()):
        below, column = divmod(place, across)
        for row, (quantity, label) in enumerate((("bound", "bound"), ("iw_nll", "IW-NLL"))):
            panel = axes[2 * below + row][column]
            base = found["vae"]  # Of the same seeds.
            for job, rows in found.items():
                if settings_of(job)[1]["K"] == 2:
                    continue  # In the picture of end_to_end.py.
                color = SYSTEM_COLOURS[system_of(job)]
                marker = {"vae": "o", "svi": "v", "vae_svi": "s", "vae_svi_kl": "D"}.get(
                    job.split()[0], "X" if "path" in job else "d" if "until" in job else
                    "*" if "network" in job else "P" if "steps" in job else "^")
                hollow = job in (
                    "savae K=5", "savae rule=network K=3 step=0.03 weight=0.3",
                    "savae rule=network K=5 step=0.03 S=2 mirrored=1")
                hollow = hollow or "test=20" in job
                panel.scatter(
                    means(rows, "seconds"),
                    mean_difference(rows, base, quantity),
                    s=90, marker=marker,
                    facecolors="none" if hollow else color,
                    edgecolors="black" if "mirrored=1" in job else color, label=name_of(job))
            panel.axhline(0.0, color="0.8", zorder=0)
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter(ticker.ScalarFormatter())
            panel.xaxis.set_minor_formatter(ticker.NullFormatter())
            panel.set_xlabel("training, CPU seconds")
            if not column:
                panel.set_ylabel(f"{label} less the VAE's, nats\n(lower is better)")
            if not row:
                panel.set_title(TITLES[name], fontsize=10)
    entries = {}
    for panel in axes.flat:
        entries.update(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="lower center", ncol=4, fontsize=9)
    for panel in axes.flat:
        if not panel.has_data():
            panel.remove()
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=110)


def main(_):
    if FLAGS.jobs_of:
        print("; ".join(read(Path(FLAGS.runs) / f"{FLAGS.jobs_of}.jsonl")))
        return
    data = {}
    for name, title in TITLES.items():
        path = Path(FLAGS.runs) / f"{name}.jsonl"
        if not path.exists():
            continue
        data[name] = read(path)
        jobs, parts = ablation(data[name])
        kept = {j: rows for j, rows in data[name].items() if j not in jobs or j in MAIN}
        data[name] = kept
        print(f"### {title}\n\n{table(kept)}\n\n{verdict(kept)}\n\n{parts}\n")
        other = path.with_name(f"{name}_curve.jsonl")
        found = read(other if other.exists() else path)
        curved = {job: rows for job, rows in found.items() if settings_of(job)[1]["curve"]}
        if curved:
            print(f"### {title}: K at test time\n\n{curves(curved)}\n")
    if FLAGS.image:
        shown = {n: found for n, found in data.items() if "vae" in found and n != "pairs_iw"}
        picture(shown, FLAGS.image)


if __name__ == "__main__":
    app.run(main)
