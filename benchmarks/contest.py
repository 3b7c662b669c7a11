#!/usr/bin/env python3
"""Our training step against PyTorch's and JAX's: python benchmarks/contest.py

The same model, weights, data, noise and precision for all. Every exact contender's gradients must
agree with ours to 1e-4 before any time is taken (images: 2e-2, as float32 convolutions of other
libraries round that much, see docs/performance.md); the error of finite differences is printed.
Each contender lives in a process of its own; they are timed in turns, in an order drawn anew for
each round. What is timed is the loss and the gradients of all weights for one batch. The machine's
rates of matrix products and convolutions are measured before each round: times are shown as
multiples of the counted FLOPs at their medians too. Needs the extra `bench`. Ratios within one run
mean something; seconds do not.
"""

import dataclasses
import os
import sys

from absl import app, flags
from peers import floor, results
from peers.cases import CASES
from peers.contenders import contenders_for, is_exact
from peers.picture import draw
from peers.process import Worker, WorkerError
from peers.rounds import Event, Rules, run

FLAGS = flags.FLAGS
_DEFAULT = ["oracle", "text_small", "text_paper", "image"]
flags.DEFINE_list("cases", _DEFAULT, f"which of {', '.join(CASES)}")
flags.DEFINE_list("contenders", [], "which FRAMEWORK:METHOD, or FRAMEWORK; all by default")
flags.DEFINE_list("steps", [], "numbers K; the case's own by default; 0 is the VAE")
flags.DEFINE_list("infer", ["1", "64"], "batch sizes of the inference contest; 0 leaves it out")
flags.DEFINE_integer("infer_steps", 20, "K of the inference contest")
flags.DEFINE_integer("rounds", 5, "turns that each contender has", lower_bound=1)
flags.DEFINE_float("seconds", 1.0, "of timing per turn, at least one run")
flags.DEFINE_float("limit", 600.0, "seconds of timing per contender and event; one turn is had")
flags.DEFINE_float("timeout", 1800.0, "seconds after which a contender is given up")
flags.DEFINE_integer("threads", 0, "cores for each contender; 0: those this process may use")
flags.DEFINE_string("before", None, "another checkout; before:METHOD is ours:METHOD of it")
flags.DEFINE_string("output", "benchmarks/results/contest.json", "figures; a .png comes beside it")


def events():
    """What the flags ask for."""
    if FLAGS.before and not os.path.isfile(os.path.join(FLAGS.before, "benchmarks/contest.py")):
        raise app.UsageError(f"--before: expected a checkout of tf_savae, got {FLAGS.before!r}.")
    found = []
    for name in FLAGS.cases:
        if name not in CASES:
            raise app.UsageError(f"--cases: expected some of {', '.join(CASES)}, got {name!r}.")
        wanted = [int(k) for k in FLAGS.steps] or CASES[name].steps
        found += [Event(name, steps) for steps in wanted]
        sizes = [int(rows) for rows in FLAGS.infer]
        found += [Event(name, FLAGS.infer_steps, "infer", rows) for rows in sizes if rows]
    return found


def chosen(event):
    """The event's contenders that the flags ask for; our first one always, as the reference."""
    everyone = contenders_for(event.kind, event.steps, CASES[event.case].model)
    if FLAGS.before:
        everyone = (*everyone, *(n.replace("ours", "before") for n in everyone if "ours" in n))
    wanted = [n for n in everyone if {n, n.partition(":")[0]} & set(FLAGS.contenders)]
    if not FLAGS.contenders:
        wanted = [n for n in everyone if n != "torch:fd_wide" or event.steps <= 5]
    return list(dict.fromkeys([everyone[0], *wanted]))


def tell(row):
    """One line on what has just happened, beside the table."""
    if "round" in row:
        text = f"round {row['round']} of {row['of']}"
    elif "problem" in row:
        text = f"{row['contender']}: {row['problem']}"
    else:
        kind = "agrees" if is_exact(row["contender"]) else "is off"
        text = f"{row['contender']}: {kind}, {row['error']:.1e} ({row['worst']})"
    print("  " + text, file=sys.stderr, flush=True)


def counted(row):
    """The counted floors of a training event: FLOPs, and seconds at the rates of its rounds."""
    if row["kind"] != "train":
        return {}
    case = CASES[row["case"]]
    rate = 1e9 * row.get("convolution_gflops" if case.model == "image" else "matmul_gflops", 0)
    found = {}
    for suffix, unrolled in (("", False), ("_unrolled", True)):
        flops = floor.counted_flops(case, row["steps"], unrolled)
        found["counted_flops" + suffix] = flops
        if rate:
            found["counted_seconds" + suffix] = flops / rate
    return found


def measured_rates(rules):
    """GFLOP/s by name; nothing where they cannot be measured, for which no contest is given up."""
    try:
        with Worker(rules.threads, rules.timeout) as worker:
            return worker.ask("rates")
    except WorkerError as problem:
        print(f"  no rates: {problem}", file=sys.stderr, flush=True)
        return {}


def main(argv):
    del argv
    threads = FLAGS.threads or len(os.sched_getaffinity(0))
    times = FLAGS.rounds, FLAGS.seconds, FLAGS.limit, FLAGS.timeout
    rules = Rules(threads, *times, before=FLAGS.before)
    planned = events()
    figures = {
        "machine": results.machine(threads),
        "rules": dataclasses.asdict(dataclasses.replace(rules, before=None)),  # No path of here.
        "rows": [],
    }
    for event in planned:
        print(f"{event}", file=sys.stderr, flush=True)
        rows = run(event, chosen(event), rules, tell, pace=lambda: measured_rates(rules))
        rows = [{**row, **counted(row)} for row in rows]
        figures["rows"] += rows
        print(results.table(rows), flush=True)
        results.write(FLAGS.output, figures)
    picture = os.path.splitext(FLAGS.output)[0] + ".png"
    draw(figures["rows"], picture)
    print(f"written to {FLAGS.output} and {picture}")


if __name__ == "__main__":
    app.run(main)
