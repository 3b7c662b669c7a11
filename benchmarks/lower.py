#!/usr/bin/env python3
"""Compiles whole train steps for TPUs, with no TPU present: python benchmarks/lower.py

For each case (encoder, K steps of refinement, the exact adjoint, clipping, the optimizer's update:
one pure function) TensorFlow lowers the step to StableHLO, and libtpu compiles that for one chip of
each target. Reported: whether it is one program without calls to the host and without dynamic
shapes, FLOPs, memory, seconds to compile. This proves that the step compiles; it does not prove
that tf.distribute.TPUStrategy runs. Needs the extra: pip install 'tf_savae[tpu]'.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from absl import app, flags
from peers import results
from peers.child import answer_of
from programs import findings, sizes, tpu

FLAGS = flags.FLAGS
_CASES = ["oracle", "text_small", "text_paper", "image"]
flags.DEFINE_list("cases", _CASES, f"some of {', '.join(sizes.CASES)}")
flags.DEFINE_list("targets", list(tpu.TARGETS), f"some of {', '.join(tpu.TARGETS)}")
flags.DEFINE_integer("steps", 20, "K", lower_bound=0)
flags.DEFINE_enum("precision", "tf32", sizes.PRECISIONS, "of products; tf32: what the device takes")
flags.DEFINE_string("method", "exact_forward", "adjoint and Hessian-vector product: peers/ours.py")
flags.DEFINE_string("output", "benchmarks/results/lower.json", "where the figures go")
flags.DEFINE_float("timeout", 1800.0, "seconds after which a compilation is given up")
flags.DEFINE_string("child", "", "for the benchmark's own use")


# The children: TensorFlow lowers in one process, libtpu compiles in another for each target.


def child(task):
    """Runs one request of the parent: {"do", ...}; the answer is JSON."""
    if task.pop("do") == "lower":
        return _lower(**task)
    return tpu.compiled(Path(task["path"]).read_bytes(), task["target"])


def _lower(name, steps, precision, method, path):
    from programs import stablehlo

    program = stablehlo.lower(name, steps, precision, method)
    Path(path).write_bytes(program.serialized)
    return {
        **findings.of_stablehlo(program.text),
        "bytes": len(program.serialized),
        "arguments": len(program.state) + 1,
        "weights_and_slots_bytes": sum(value.nbytes for value in program.state),
    }


# The parent.


def in_process(**task):
    """The answer of a child, or {"problem": why there is none}."""
    return answer_of(Path(__file__).resolve(), task, FLAGS.timeout)


def measured(name, targets, folder):
    """The row of a case: its StableHLO, and what each target made of it."""
    path = str(Path(folder) / f"{name}.stablehlo")
    settings = {"steps": FLAGS.steps, "precision": FLAGS.precision, "method": FLAGS.method}
    row = {"case": name, **settings, "sizes": sizes.case_of(name)._asdict()}
    row["counted_flops"] = sizes.counted_flops(name, FLAGS.steps)
    row["stablehlo"] = in_process(do="lower", name=name, path=path, **settings)
    row["targets"] = {}
    if "problem" not in row["stablehlo"]:
        for target in targets:
            row["targets"][target] = in_process(do="compile", path=path, target=target)
    return row


_HEAD = (
    "case",
    "K",
    "target",
    "programs",
    "host calls",
    "dynamic shapes",
    "loops",
    "GFLOP",
    "x count",
    "arguments MiB",
    "temporaries MiB",
    "code MiB",
    "compile s",
)


def table(rows):
    """Markdown: a line for each case and target."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for row in rows:
        if "problem" in row["stablehlo"]:
            lines.append(f"| {row['case']} | {row['steps']} | {row['stablehlo']['problem']} |")
        for target, found in row["targets"].items():
            lines.append("| " + " | ".join(map(str, _cells(row, target, found))) + " |")
    return "\n".join(lines)


def _cells(row, target, found):
    cells = [row["case"], row["steps"], target]
    if "problem" in found:
        return [*cells, found["problem"]]
    memory = [f"{found['memory_bytes'][n] / 2**20:,.1f}" for n in ("argument", "temp")]
    cells += [found["programs"], ", ".join(found["host_calls"]) or "none"]
    cells += [", ".join(found["dynamic_shapes"]) or "none", found["whiles"]]
    cells += [f"{found['flops'] / 1e9:,.1f}", f"{found['flops'] / row['counted_flops']:.2f}"]
    cells += memory
    cells.append(f"{found['memory_bytes']['generated_code'] / 2**20:,.1f}")
    return [*cells, found["compile_seconds"]]


def _check_flags():
    for name in FLAGS.cases:
        sizes.case_of(name)
    for target in FLAGS.targets:
        if target not in tpu.TARGETS:
            raise ValueError(f"target: expected one of {', '.join(tpu.TARGETS)}, got {target!r}.")
    tpu.check_installed()


def main(argv):
    del argv
    if FLAGS.child:
        print(json.dumps(child(json.loads(FLAGS.child))))
        return
    try:
        _check_flags()
    except (ValueError, ModuleNotFoundError) as problem:
        raise app.UsageError(str(problem)) from None
    rows = []
    figures = {"machine": results.machine(len(os.sched_getaffinity(0))), "rows": rows}
    figures["machine"]["libtpu"] = results._version("libtpu")
    with tempfile.TemporaryDirectory() as folder:
        for name in FLAGS.cases:
            rows.append(measured(name, FLAGS.targets, folder))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            results.write(FLAGS.output, figures)
    print(table(rows))
    print(f"written to {FLAGS.output}")
    answers = [f for row in rows for f in (row["stablehlo"], *row["targets"].values())]
    if any("problem" in found or findings.verdict(found) for found in answers):
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
