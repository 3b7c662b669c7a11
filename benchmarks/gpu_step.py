#!/usr/bin/env python3
"""Times whole train steps on the accelerator that is there, by way of StableHLO.

    python benchmarks/gpu_step.py dump --folder=steps     # where TensorFlow and tf_savae are
    python benchmarks/gpu_step.py run --folder=steps      # where jax and the accelerator are

`dump` lowers the pure train step (encoder, K steps of refinement, the exact adjoint, clipping, the
optimizer's update) and needs no accelerator. `run` needs NumPy, jax and jaxlib, and neither
TensorFlow nor tf_savae: copy `benchmarks/` and the folder to the machine. It prints a table with
the device, milliseconds, the floor (counted FLOPs at the rate that the device was measured at in
the same run) and the ratio of the two.
"""

import argparse
import gc
import statistics
import sys
import time

from peers import results
from programs import client, device_rates, flops, package, sizes

_FIRST = 1  # Results are the loss, then the state.


# dump


def dump(options):
    """Writes a program for each case, K and precision."""
    wanted = list(_wanted(options))
    import keras
    import tensorflow as tf
    from programs import stablehlo

    for case, steps, precision in wanted:
        name = f"{case}_K{steps}_{precision}"
        start = time.perf_counter()
        program = stablehlo.lower(case, steps, precision, options.method)
        info = {"case": case, "steps": steps, "precision": precision, "method": options.method}
        info["counted_flops"] = sizes.counted_flops(case, steps)
        info["versions"] = {"tensorflow": tf.__version__, "keras": keras.__version__}
        found = None
        if options.check:
            loss, state = program.run()
            found = [loss, *state]
        package.write(options.folder, name, program, info, found)
        size, seconds = len(program.serialized) / 2**20, time.perf_counter() - start
        print(f"{name}: {size:.1f} MiB in {seconds:.0f} s", flush=True)
        del program
        keras.backend.clear_session()
        gc.collect()


def _wanted(options):
    for case in options.cases.split(","):
        sizes.case_of(case)
        for steps in options.steps.split(","):
            for precision in options.precisions.split(","):
                if precision not in sizes.PRECISIONS:
                    known = ", ".join(sizes.PRECISIONS)
                    raise ValueError(f"precisions: expected some of {known}, got {precision!r}.")
                yield case, int(steps), precision


# run


def run(options):
    """Times each program of the folder; returns the rows."""
    jax = client.import_jax()
    rows, rates = [], {}
    figures = {"device": _device(jax), "machine": results.machine(None), "rows": rows}
    for name in package.names(options.folder):
        read = package.read(options.folder, name)
        row = {k: v for k, v in read.info.items() if k != "arguments"}
        precision = row["precision"]
        if precision not in rates:
            rates[precision] = device_rates.measured(precision, options.small_rates)
        try:
            row.update(_timed(read, options.repeats), **_floor(row, rates[precision]))
        except jax.errors.JaxRuntimeError as problem:  # Out of memory, say: the others go on.
            row["problem"] = str(problem).splitlines()[0][:200]
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
        results.write(options.output, figures)
    print(table(rows, figures["device"]["kind"]))
    print(f"written to {options.output}")
    return rows


def _device(jax):
    device = jax.devices()[0]
    return {"kind": device.device_kind, "platform": device.platform, "jax": jax.__version__}


def _timed(read, repeats):
    """Compiles a program and runs it as training does: each step takes the state of the last."""
    loaded = client.Loaded(read.serialized)
    arguments = loaded.put(read.arguments)
    found = loaded.run(arguments)
    row = {"loss": float(found[0]), "compile_seconds": round(loaded.compile_seconds, 2)}
    if read.expected is not None:
        row["error"] = _error(found, read.expected)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = loaded.run([*found[_FIRST:], arguments[-1]])
        for result in found:
            result.block_until_ready()
        seconds.append(time.perf_counter() - start)
    row["ms"] = 1e3 * statistics.median(seconds)
    row["fastest_ms"], row["slowest_ms"] = 1e3 * min(seconds), 1e3 * max(seconds)
    row["memory_bytes"] = loaded.memory()
    row["program_flops"] = flops.of_module(read.serialized)
    row["last_loss"] = float(found[0])
    return row


def _error(found, expected):
    """The largest difference to TensorFlow's results, relative where they are above 1."""
    import numpy as np

    worst = 0.0
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = np.asarray(mine, np.float64), np.asarray(theirs, np.float64)
        worst = max(worst, float(np.max(np.abs(mine - theirs) / np.maximum(1.0, np.abs(theirs)))))
    return worst


def _floor(row, rates):
    kind = "convolution" if sizes.case_of(row["case"]).model == "image" else "matmul"
    return {"rate": kind, "rates": rates, "floor_ms": _floor_ms(row, rates[f"{kind}_gflops"])}


def _floor_ms(row, gflops):
    return row["counted_flops"] / gflops / 1e6


def table(rows, device):
    """Markdown.

    >>> row = {"case": "image", "steps": 5, "precision": "tf32", "problem": "out of memory"}
    >>> print(table([row], "some GPU").splitlines()[-1])
    | some GPU | image | 5 | tf32 | out of memory |
    """
    head = ["device", "case", "K", "precision", "ms", "floor ms", "ratio", "TFLOP/s measured"]
    head += ["memory GiB", "compile s", "error"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [device, row["case"], row["steps"], row["precision"]]
        cells += [row["problem"]] if "problem" in row else _figures(row)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _figures(row):
    memory = sum(row["memory_bytes"].values()) / 2**30
    rate = row["rates"][f"{row['rate']}_gflops"] / 1e3
    cells = [f"{row['ms']:,.2f}", f"{row['floor_ms']:,.2f}", f"{row['ms'] / row['floor_ms']:.2f}"]
    cells += [f"{rate:,.2f}", f"{memory:.2f}", f"{row['compile_seconds']:.1f}"]
    return [*cells, f"{row['error']:.0e}" if "error" in row else "not compared"]


def parser():
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = made.add_subparsers(dest="command", required=True)
    first = commands.add_parser("dump", help="lower train steps to StableHLO (needs TensorFlow)")
    first.add_argument("--cases", default="text_paper,image", help=", ".join(sizes.CASES))
    first.add_argument("--steps", default="5,10,20", help="numbers K")
    first.add_argument("--precisions", default=",".join(sizes.PRECISIONS))
    first.add_argument("--method", default="exact_forward", help="see peers/ours.py")
    first.add_argument("--check", action="store_true", help="with TensorFlow's results")
    second = commands.add_parser("run", help="time them (needs jax)")
    second.add_argument("--repeats", type=int, default=10, help="timed steps")
    second.add_argument("--small_rates", action="store_true", help="for a trial on a CPU")
    second.add_argument("--output", default="benchmarks/results/gpu_step.json")
    for command in (first, second):
        command.add_argument("--folder", required=True, help="of the programs")
    return made


def main(arguments=None):
    options = parser().parse_args(arguments)
    try:
        (dump if options.command == "dump" else run)(options)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as problem:
        raise SystemExit(f"error: {problem}") from None


if __name__ == "__main__":
    main()
