#!/usr/bin/env python3
"""Bound and importance-weighted NLL against training time, for every system and the recipe.

A job is one of JOBS for one seed; those that the output has already are skipped, so the same
command goes on after an interruption, and with --image alone it draws what is there and prints it:

    python benchmarks/time_to_bound.py --data=pairs,mnist --seeds=0 --budget=120
    python benchmarks/time_to_bound.py --image=docs/images/time_to_bound.png

Time is CPU seconds of training on one thread, without compilation and measurements; a model trains
until its budget is used up. At times that grow by half each, the bound and the NLL of the first 500
test rows are measured, with K as in training; the figure at a time is that of the weights with the
lowest validation bound until then. PyTorch's SA-VAE (the paper's algorithm with exact products)
begins with our first weights and is measured by our evaluation.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "docs" / "experiments"))

OUTPUT = Path(__file__).parent / "results" / "time_to_bound.jsonl"
JOBS = {
    "vae": "VAE",
    "svi K=20 step=0.05": "SVI, K = 20",
    "vae_svi K=5": "VAE + SVI, K = 5",
    "vae_svi K=5 S=2 mirrored=1": "VAE + SVI, antithetic pair",
    "vae_svi_kl K=5": "VAE + SVI + KL, K = 5",
    "savae K=5": "SA-VAE, K = 5, of the paper",
    "savae K=5 weight=0.3": "SA-VAE, K = 5",
    "savae rule=network K=5 step=0.03 weight=0.3": "SA-VAE, LearnedUpdate",
    "savae K=5 weight=0.3 after=15": "15 epochs of VAE, then SA-VAE",
    "savae rule=network K=5 step=0.03 weight=0.3 after=15": "15 epochs of VAE, then LearnedUpdate",
    "savae rule=network K=5 step=0.03 weight=0.3 after=60": "60 epochs of VAE, then LearnedUpdate",
    "vae_svi_exact rule=network K=5 step=0.03 S=2 mirrored=1":
        "vae_svi_exact, LearnedUpdate, antithetic pair",
    "torch savae K=5": "PyTorch's SA-VAE, of the paper",
}
TITLES = {
    "pairs": "pairs",
    "many_pairs": "pairs, 20,000 rows",
    "mnist": "MNIST, 10,000 images",
    "fresh_oracle": "sentences of the oracle",
    "oracle": "oracle, 20,000 sentences",
}
ROWS, SAMPLES, GROWTH = 500, 100, 1.5


def curve_of(data, seed, job, budget):
    """[{"seconds", "epoch", "valid", "bound", "iw_nll"}] of a job within `budget` CPU seconds."""
    import keras
    import refinement_study
    import tensorflow as tf
    from study_data import DATA

    for threads in ("intra_op", "inter_op"):  # Before anything runs; later it is the same.
        getattr(tf.config.threading, f"set_{threads}_parallelism_threads")(1)
    objective, settings = refinement_study.settings_of(job.removeprefix("torch "))
    study = DATA[data](seed, settings["encoder"])
    keras.utils.set_random_seed(seed)
    if job.startswith("torch "):
        return _torch_curve(study, objective, settings, seed, budget)
    clock, start = _clock(study, budget), None
    if settings["after"]:
        start = refinement_study.build(study, "vae", settings, seed)
        refinement_study.fit(start, study, clock, settings["after"], seed, stop=None)
    model = refinement_study.build(study, objective, settings, seed, start)
    refinement_study.fit(model, study, clock, 100_000, seed, bool(start), stop=None)
    return clock.curve


def measured(model, study):
    """{"valid", "bound", "iw_nll"} of a model: bounds of validation and test rows, nats each."""
    from refinement_study import batches

    from tf_savae import evaluation

    valid, test = (batches(rows[:ROWS], 250) for rows in (study.valid, study.test))
    found = {
        "valid": evaluation.evaluate_bounds(model, valid.repeat(2), seed=0).bound,
        "bound": evaluation.evaluate_bounds(model, test.repeat(2), seed=0).bound,
        "iw_nll": evaluation.importance_weighted_nll(model, test, samples=SAMPLES, seed=0),
    }
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}


def _clock(study, budget):
    """A `Clock` that measures on its way, and ends training when the budget is used up."""
    from refinement_study import Clock

    class Curve(Clock):
        def __init__(self):
            super().__init__()
            self.curve, self._next, self._epochs = [], 0.0, 0

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            self._epochs += 1
            over = self.seconds >= budget
            if self.seconds >= self._next or over:
                self._next = max(self.seconds * GROWTH, self.seconds + 0.04 * budget)
                at = {"seconds": round(self.seconds, 2), "epoch": self._epochs}
                self.curve.append({**at, **measured(self.model, study)})
            self.model.stop_training |= over

    return Curve()


def _torch_curve(study, objective, settings, seed, budget):
    """The same of PyTorch's SA-VAE; our model lends the first weights and the evaluation."""
    import time

    from peers.torch_programs.trainer import Trainer
    from refinement_study import build

    model = build(study, objective, settings, seed)
    network, *parts = _peer_of(model)
    weights = [{name: v.numpy() for name, v in part.items()} for part in parts]
    trainer = Trainer(network, *weights, settings["K"], settings["step"], study)
    draw, seconds, due, curve = np.random.default_rng(seed), 0.0, 0.0, []
    for epoch in range(1, 100_000):
        began = time.process_time()
        trainer.epoch(draw)
        seconds += time.process_time() - began
        if seconds >= due or seconds >= budget:
            due = max(seconds * GROWTH, seconds + 0.04 * budget)
            for part, values in zip(parts, trainer.weights(), strict=True):
                for name, variable in part.items():
                    variable.assign(values[name])
            at = {"seconds": round(seconds, 2), "epoch": epoch}
            curve.append({**at, **measured(model, study)})
        if seconds >= budget:
            return curve
    return curve


def _peer_of(model):
    """(PyTorch's network, {name: our variable} of the encoder, and of the decoder)."""
    from peers import cases, weights
    from peers.torch_programs import text, trainer

    from tf_savae.networks import OracleDecoder

    parts = {"encoder": model.encoder, "decoder": model.decoder}
    if not isinstance(model.decoder, OracleDecoder):
        numbered = [{str(i): w for i, w in enumerate(p.weights)} for p in parts.values()]
        return trainer.dense(), *numbered
    names = weights.names(cases.CASES["oracle"])
    named = {name: weights.walk(model, name) for name in names}
    return text.oracle(None), *(weights.of_part(named, part) for part in parts)


def table(jobs):
    """Markdown: bound / NLL of each job at an eighth, a quarter, half and all of the budget.

    Means over the seeds that all jobs of the data set have, at its largest budget.
    """
    budget = max(job["budget"] for job in jobs)
    by_job = {name: {} for name in JOBS}
    for job in jobs:
        if job["budget"] == budget:
            by_job[job["job"]][job["seed"]] = job["curve"]
    by_job = {name: curves for name, curves in by_job.items() if curves}
    seeds = sorted(set.intersection(*map(set, by_job.values())))
    times = [budget * share for share in (0.125, 0.25, 0.5, 1)]
    heads = " | ".join(f"{time:g} s" for time in times)
    times[-1] = np.inf  # The last epoch may end after the budget.
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    lines = [f"| system, {count} | {heads} |", "|---" * (len(times) + 1) + "|"]
    for name, curves in by_job.items():
        found = [
            np.mean([best_at(curves[seed], times, q) for seed in seeds], 0)
            for q in ("bound", "iw_nll")
        ]
        cells = [f"{bound:.2f} / {nll:.2f}" for bound, nll in zip(*found, strict=True)]
        lines.append(f"| {JOBS[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read(path):
    """The finished jobs of an output file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def draw(jobs, path):
    """The picture: a column of two panels for each data set; mean over seeds at equal seconds."""
    from matplotlib.figure import Figure

    names = [name for name in TITLES if any(job["data"] == name for job in jobs)]
    figure = Figure(figsize=(5.2 * len(names), 8), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False)
    for column, name in zip(panels.T, names, strict=True):
        of_data = [job for job in jobs if job["data"] == name]
        for panel, quantity in zip(column, ("bound", "iw_nll"), strict=True):
            _panel(panel, of_data, quantity)
        column[0].set_title(TITLES[name])
        column[1].set_xlabel("training, CPU seconds on one thread")
    panels[0, 0].set_ylabel("negative ELBO of test rows, nats\n(lower is better)")
    panels[1, 0].set_ylabel("importance-weighted NLL, nats\n(lower is better)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
    figure.savefig(path, dpi=100)


def _panel(panel, jobs, quantity):
    from matplotlib import ticker

    finals, longest = [], 0.0
    for job, name in JOBS.items():
        curves = [j["curve"] for j in jobs if j["job"] == job]
        if not curves:
            continue
        times = np.array([point["seconds"] for point in curves[0]])
        at = [best_at(curve, times, quantity) for curve in curves]
        panel.plot(times, np.mean(at, 0), label=name, **_style(job))
        finals.append(np.mean(at, 0)[-1])
        longest = max(longest, times[-1])
    panel.set_xscale("log")
    panel.set_xlim(longest / 20, longest * 1.03)
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(ticker.ScalarFormatter())
    panel.xaxis.set_minor_formatter(ticker.NullFormatter())
    span = np.median(finals) - min(finals) + 0.2  # Curves that end far above may leave the panel.
    panel.set_ylim(min(finals) - 0.3 * span, min(finals) + 3.5 * span)


def _style(job):
    """Line of a job: its system's colour, heavy with a learned rule, dashed after a VAE.

    With antithetic pairs it has dots.
    """
    from study_jobs import settings_of, system_of

    from tf_savae.plots.palette import SYSTEM_COLOURS

    if job.startswith("torch "):
        return {"color": "black", "linestyle": ":"}
    settings = settings_of(job)[1]
    dashes = {0: "-", 15: "--", 60: "-."}[settings["after"]]
    if job == "savae K=5":  # Of the paper.
        dashes = ":"
    width = 2.6 if settings["rule"] == "network" else 1.3
    style = {"color": SYSTEM_COLOURS[system_of(job)], "linestyle": dashes, "linewidth": width}
    return {**style, "marker": "o", "markersize": 4} if settings["mirrored"] else style


def best_at(curve, times, quantity):
    """The quantity at each time, at the lowest validation bound until then.

    >>> curve = [{"seconds": s, "valid": b, "iw_nll": b - 1.0} for s, b in ((1, 9.0), (2, 9.5))]
    >>> best_at(curve, [1, 2, 3], "iw_nll").tolist()
    [8.0, 8.0, 8.0]
    """
    found = []
    for time in times:
        until = [point for point in curve if point["seconds"] <= time] or curve[:1]
        found.append(min(until, key=lambda point: point["valid"])[quantity])
    return np.array(found)


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help=f"data sets, of {', '.join(TITLES)}")
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas")
    parser.add_argument("--budget", type=float, default=120.0, help="CPU seconds of a job")
    parser.add_argument("--jobs", default=";".join(JOBS), help="which of JOBS, separated by ;")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="gets one line a job")
    parser.add_argument("--image", type=Path, help="draws the output's jobs")
    flags = parser.parse_args(arguments)
    unknown = set(filter(None, flags.data.split(","))) - set(TITLES)
    if unknown:
        parser.error(f"--data: expected some of {', '.join(TITLES)}, got {sorted(unknown)}.")
    flags.jobs = [job.strip() for job in flags.jobs.split(";")]
    if unknown := set(flags.jobs) - set(JOBS):
        parser.error(f"--jobs: expected some of {'; '.join(JOBS)}, got {sorted(unknown)}.")
    return flags


def main(arguments=None):
    flags = parsed(arguments)
    done = read(flags.output)
    for data in filter(None, flags.data.split(",")):
        for seed in map(int, flags.seeds.split(",")):
            for job in flags.jobs:
                key = {"data": data, "seed": seed, "job": job, "budget": flags.budget}
                if any(key.items() <= d.items() for d in done):
                    continue
                found = {**key, "curve": curve_of(data, seed, job, flags.budget)}
                with flags.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
                print(data, seed, job, found["curve"][-1], flush=True)
    if flags.image:
        jobs = read(flags.output)
        for data in dict.fromkeys(job["data"] for job in jobs):
            print(f"\n{TITLES[data]}\n\n{table([j for j in jobs if j['data'] == data])}")
        draw(jobs, flags.image)


if __name__ == "__main__":
    main()
