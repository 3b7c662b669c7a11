#!/usr/bin/env python3
"""What a training step costs, beside what it must cost: python benchmarks/step_cost.py

For the oracle and for text at three sizes: the time F of one decoder forward pass, of a VAE step
and of an SA-VAE step under each adjoint and Hessian-vector product, as multiples of F and of the
counted cost ((8K + 3) F at constant memory, (6K + 3) F unrolled, 3 F for a VAE), with compile
time and peak memory (each variant in a process of its own) and the machine's matrix-product
rate, measured in the same run. Ratios within one run mean something; seconds do not.
"""

import json
import os
import resource
import statistics
import time

from absl import app, flags
from peers import results
from peers.child import answer_of

FLAGS = flags.FLAGS
flags.DEFINE_list("cases", ["oracle", "text_small", "text_medium", "text_paper"], "which sizes")
flags.DEFINE_list("variants", [], "which variants; all that suit the case by default")
flags.DEFINE_integer("steps", 0, "K; 0: the case's own")
flags.DEFINE_integer("repeats", 0, "timed runs of each variant; 0: the case's own")
flags.DEFINE_enum("jit", "both", ["true", "false", "both"], "XLA, plain graph, or both")
flags.DEFINE_string("output", "benchmarks/results/step_cost.json", "where the figures go")
flags.DEFINE_float("timeout", 900.0, "seconds after which a variant is given up")
flags.DEFINE_string("child", "", "for the benchmark's own use")

#        V, E, H, Z, B, T, K, timed runs
CASES = {
    "oracle": (1000, 100, 100, 2, 50, 5, 20, 20),
    "text_small": (2000, 64, 128, 16, 32, 20, 5, 10),
    "text_medium": (5000, 128, 256, 32, 32, 40, 5, 5),
    "text_paper": (20001, 512, 1024, 32, 32, 60, 5, 1),
}
VARIANTS = {
    "forward": None,
    "vae": ("vae", "exact", "forward_over_reverse"),
    "exact/forward_over_reverse": ("savae", "exact", "forward_over_reverse"),
    "exact/reverse_over_reverse": ("savae", "exact", "reverse_over_reverse"),
    "exact/finite_difference": ("savae", "exact", "finite_difference"),
    "truncated": ("savae", "truncated", "forward_over_reverse"),
    "unrolled": ("savae", "unrolled", "forward_over_reverse"),
    "vae_svi": ("vae_svi", "stop", "forward_over_reverse"),
}
# Unrolling an LSTM of this size K times takes minutes to compile and does not fit beside others.
LEFT_OUT = {"text_paper": {"unrolled", "exact/finite_difference", "truncated"}}


def counted(variant, steps):
    """Decoder forward passes that the variant must cost (design: 2F a step, 6F a product)."""
    if variant == "forward":
        return 1
    if variant == "vae":
        return 3
    if variant == "vae_svi":
        return 2 * steps + 6
    back = {"truncated": 6 * (steps // 2), "unrolled": 4 * steps}.get(variant, 6 * steps)
    return 2 * steps + back + 3


# The child: one variant in a process of its own.


def build(case, variant, steps):
    """The case's networks and one batch; a compiled model unless only F is wanted."""
    import numpy as np
    import tensorflow as tf

    import tf_savae
    from tf_savae.networks import OracleDecoder, OracleEncoder, TextDecoder, TextEncoder

    vocabulary, embedding, units, latent, batch, length = CASES[case][:6]
    rng = np.random.default_rng(0)
    if case == "oracle":
        x = rng.integers(0, vocabulary, (batch, length))
        encoder, decoder = OracleEncoder(vocabulary, units), OracleDecoder(vocabulary, units)
    else:
        x = rng.integers(4, vocabulary, (batch, length + 1))
        x[:, 0], x[:, -1] = 2, 3
        sizes = (vocabulary, embedding, units, latent)
        encoder, decoder = TextEncoder(*sizes), TextDecoder(*sizes)
    x = tf.constant(x, tf.int32)
    if variant == "forward":
        return decoder, x, latent
    objective, adjoint, hvp = VARIANTS[variant]
    refinement = tf_savae.SemiAmortizedRefinement(
        steps=steps,
        step_size=0.01,
        adjoint=adjoint,
        hvp=hvp,
        truncate=steps // 2 if adjoint == "truncated" else None,
    )
    model = tf_savae.SemiAmortizedVAE(
        encoder, decoder, objective=objective, latent_size=latent, refinement=refinement
    )
    return model, x, latent


def step_function(case, variant, steps, jit):
    """A function without arguments that runs the variant once and waits for it."""
    import tensorflow as tf

    built, x, latent = build(case, variant, steps)
    if variant == "forward":
        z = tf.zeros([x.shape[0], latent])
        built(x, z)
        forward = tf.function(lambda: built.log_prob(x, z), jit_compile=jit, autograph=False)
        return lambda: forward().numpy()
    built.compile("sgd", jit_compile=jit)
    built.ensure_built(x)
    step = tf.function(lambda: built.train_step(x), jit_compile=jit, autograph=False)
    return lambda: step()["loss"].numpy()


def measure(case, variant, steps, repeats, jit):
    """Median and spread of the step, compile time and peak memory of this process."""
    run = step_function(case, variant, steps, jit)
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return {
        "seconds": median,
        "fastest": min(times),
        "slowest": max(times),
        "compile_seconds": max(0.0, first - median),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def matrix_rate():
    """The machine's float32 matrix products, GFLOP/s: the best of ten of 1920 x 1024 x 20001."""
    import tensorflow as tf

    left, right = tf.random.normal([1920, 1024]), tf.random.normal([1024, 20001])
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        tf.matmul(left, right)[0, 0].numpy()
        best = min(best, time.perf_counter() - start)
    return {"gflops": 2 * 1920 * 1024 * 20001 / best / 1e9}


def child(request):
    """Runs one request of the parent and prints its figures as the last line."""
    task = json.loads(request)
    print(json.dumps(matrix_rate() if task == "rate" else measure(**task)))


# The parent.


def run_case(case, rows):
    """Measures and prints every variant of a case."""
    steps = FLAGS.steps or CASES[case][6]
    repeats = FLAGS.repeats or CASES[case][7]
    wanted = FLAGS.variants or [v for v in VARIANTS if v not in LEFT_OUT.get(case, ())]
    modes = {"true": [True], "false": [False], "both": [True, False]}[FLAGS.jit]
    for jit in modes:
        forward = None
        for variant in wanted:
            task = dict(case=case, variant=variant, steps=steps, repeats=repeats, jit=jit)
            figures = answer_of(__file__, task, FLAGS.timeout)
            if variant == "forward" and "seconds" in figures:
                forward = figures["seconds"]
            rows.append({**task, **figures, "counted": counted(variant, steps)})
            print(table_row(rows[-1], forward), flush=True)


def table_row(row, forward):
    """One line of the Markdown table."""
    name = f"| {row['case']} | {row['steps']} | {'XLA' if row['jit'] else 'graph'} "
    name += f"| {row['variant']} "
    if "problem" in row:
        return f"{name}| {row['problem']} |"
    ratio = row["seconds"] / forward if forward else float("nan")
    return (
        f"{name}| {1e3 * row['seconds']:.1f} | {ratio:.1f} | {row['counted']} "
        f"| {ratio / row['counted']:.2f} | {row['compile_seconds']:.1f} | {row['peak_mib']:.0f} |"
    )


def main(argv):
    if FLAGS.child:
        return child(FLAGS.child)
    rate = answer_of(__file__, "rate", FLAGS.timeout)
    print(f"matrix products: {rate.get('gflops', 0):.0f} GFLOP/s (float32)\n")
    print("| case | K | mode | variant | ms | times F | counted | measured / counted | compile s "
          "| peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for case in FLAGS.cases:
        run_case(case, rows)
    machine = results.machine(len(os.sched_getaffinity(0)))
    results.write(FLAGS.output, {"machine": machine, "matrix_rate": rate, "rows": rows})
    print(f"\nwritten to {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
