#!/usr/bin/env python3
"""How time, memory and compile time of a training step grow: python benchmarks/growth.py

One text model (`BASE`), and from it one size at a time changed: K steps, T words, V vocabulary, B
examples, H units. Each point is a process of its own; time is the median of a few runs, growth is
memory above what the process held before it built the model, the compiler's included. The exponent
is the slope of a straight line through the points in log-log scale: 1 is linear. Needs the extra
`bench` only for contenders other than ours. About ten minutes on two idle cores.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags
from peers import results
from peers.cases import CASES
from peers.process import Worker, WorkerError

FLAGS = flags.FLAGS
BASE = CASES["text_small"]._replace(vocabulary=2000, embedding=64, units=128, length=20)
AXES = {
    "K": ("steps", (1, 5, 20, 40)),
    "T": ("length", (10, 20, 40, 80)),
    "V": ("vocabulary", (1000, 4000, 16000)),
    "B": ("batch", (8, 32, 128)),
    "H": ("units", (64, 128, 256, 512)),
}
_MEASURES = {
    "ms": "time of a training step (ms)",
    "growth_mib": "memory growth (MiB)",
    "compile_seconds": "compilation (s)",
}
_SIZES = {
    "K": "K, refinement steps",
    "T": "T, words of a text",
    "V": "V, words known",
    "B": "B, examples of a batch",
    "H": "H, units of the LSTM",
}
# What a contender is, and its colour: nothing kept (the default) is the strongest.
_SHOWN = {
    "ours:exact_forward": ("exact adjoint, nothing kept", "#c8102e"),
    "ours:exact_states": ("exact adjoint, states kept", "#e3a008"),
    "ours:exact_all": ("exact adjoint, all kept", "#4a7ebb"),
}
_CONTENDERS = ["ours:exact_forward", "ours:exact_states", "ours:exact_all"]


def define_flags():
    """The command's flags; not on import, where other commands have theirs."""
    flags.DEFINE_list("axes", list(AXES), f"which of {', '.join(AXES)}")
    flags.DEFINE_list("contenders", _CONTENDERS, "which FRAMEWORK:METHOD of the contest")
    flags.DEFINE_integer("base_steps", 5, "K where it is not what changes")
    flags.DEFINE_integer("repeats", 3, "timed runs at each point")
    flags.DEFINE_float("timeout", 600.0, "seconds after which a point is given up")
    output = "benchmarks/results/growth.json"
    flags.DEFINE_string("output", output, "figures; a .png comes beside it")


def points():
    """(axis, value, case, K) of every point."""
    for axis in FLAGS.axes:
        if axis not in AXES:
            raise app.UsageError(f"--axes: expected some of {', '.join(AXES)}, got {axis!r}.")
        field, values = AXES[axis]
        for value in values:
            if field == "steps":
                yield axis, value, BASE, value
            else:
                yield axis, value, BASE._replace(**{field: value}), FLAGS.base_steps


def measured(contender, case, steps, threads):
    """Time, memory and compile time of one contender at one point."""
    shared = {"case": case._asdict(), "steps": steps, "dtype": "float32"}
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "data.npz")
        with Worker(threads, FLAGS.timeout) as worker:
            worker.ask("prepare", **shared, rows=None, path=data)
        with Worker(threads, FLAGS.timeout) as worker:
            built = worker.ask("build", **shared, contender=contender, kind="train", data=data)
            seconds = worker.ask("time", repeats=FLAGS.repeats)["seconds"]
    figures = {name: built[name] for name in ("compile_seconds", "growth_mib")}
    return {"ms": 1e3 * statistics.median(seconds), **figures}


def exponent(rows, name):
    """The slope of a measure against the axis' value, both in logarithms.

    >>> exponent([{"value": 1, "ms": 3.0}, {"value": 4, "ms": 12.0}], "ms")
    1.0
    """
    logs = np.log([[row["value"], max(row[name], 1e-3)] for row in rows])
    return round(float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), 2)


def curves(rows):
    """{(axis, contender): the rows of its points}, those without a problem."""
    found = {}
    for row in rows:
        if "problem" not in row:
            found.setdefault((row["axis"], row["contender"]), []).append(row)
    return found


def table(rows):
    """Markdown: a line for each curve, with the exponents."""
    lines = ["| size | contender | values | ms | exponent | growth MiB | exponent | compile s |"]
    lines.append("|" + "---|" * 8)
    for (axis, contender), points in curves(rows).items():

        def shown(name, digits, points=points):
            return ", ".join(f"{point[name]:,.{digits}f}" for point in points)

        cells = [axis, contender, shown("value", 0), shown("ms", 0), exponent(points, "ms")]
        cells += [shown("growth_mib", 0), exponent(points, "growth_mib")]
        lines.append("| " + " | ".join(map(str, [*cells, shown("compile_seconds", 1)])) + " |")
    return "\n".join(lines)


def draw(rows, path):
    """A row of panels for each measure, a panel for each axis.

    Time is in log-log scale, where its slope is the exponent; the others start from zero.
    """
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(3.2 * len(axes), 2.8 * len(_MEASURES)), layout="constrained")
    grid = figure.subplots(len(_MEASURES), len(axes), squeeze=False, sharey="row")
    for panels, (name, label) in zip(grid, _MEASURES.items(), strict=True):
        for panel, axis in zip(panels, axes, strict=True):
            _panel(panel, curves([row for row in rows if row["axis"] == axis]), name)
            panel.set_xlabel(_SIZES.get(axis, axis))
        panels[0].set_ylabel(label)
        if name != "ms":
            panels[0].set_ylim(0, 1.05 * max(row[name] for row in rows if name in row))
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        "A training step of a text model as one size grows: lower is better (first row: both axes "
        "logarithmic)"
    )
    figure.savefig(path, dpi=110)


def _panel(panel, found, name):
    for (_, contender), points in found.items():
        values = [point["value"] for point in points]
        label, colour = _SHOWN.get(contender, (contender, None))
        numbers = [point[name] for point in points]
        panel.plot(values, numbers, marker="o", label=label, color=colour)
    panel.set_xscale("log")
    panel.set_xticks(values, [str(value) for value in values])
    panel.set_xticks([], minor=True)
    if name == "ms":
        panel.set_yscale("log")
        panel.yaxis.set_minor_formatter("")
        panel.yaxis.set_major_formatter("{x:.0f}")


def main(argv):
    del argv
    threads = len(os.sched_getaffinity(0))
    rows = []
    figures = {"machine": results.machine(threads), "base": BASE._asdict(), "rows": rows}
    for axis, value, case, steps in points():
        for contender in FLAGS.contenders:
            row = {"axis": axis, "value": value, "contender": contender, "steps": steps}
            try:
                row.update(measured(contender, case, steps, threads))
            except WorkerError as problem:
                row["problem"] = str(problem)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
            results.write(FLAGS.output, figures)
    print(table(rows))
    picture = os.path.splitext(FLAGS.output)[0] + ".png"
    draw(rows, picture)
    print(f"written to {FLAGS.output} and {picture}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
