"""Compile time and peak memory of refinement's derivative at K = 5 and K = 40.

    python benchmarks/flat_in_k.py [--json=flat_in_k.json] [--steps=5,40] [--width=512]

The exact adjoint stores K copies of the variational parameters and recomputes the rest: neither
time to compile nor memory should grow with K. Unrolled autodiff keeps the activations of all steps
and is printed beside it. Each measurement is a process of its own; memory is the most that the
process ever held (getrusage), less what it held before. About two minutes on two cores.
"""

import argparse
import json
import os
import resource
import time

from peers.child import answer_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CASES = [
    ("exact", "reverse_over_reverse", "graph"),
    ("exact", "forward_over_reverse", "graph"),
    ("unrolled", "-", "graph"),
    ("exact", "reverse_over_reverse", "xla"),
    ("exact", "forward_over_reverse", "xla"),
    ("unrolled", "-", "xla"),
]
COLUMNS = ("adjoint", "hvp", "mode", "K", "compile s", "step s", "peak MiB")


def peak_mib():
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def decoder(batch, width, latent):
    """A dense decoder of three layers: (negative ELBO, initial mean, weights)."""
    import tensorflow as tf

    def normal(shape, seed, scale):
        return scale * tf.random.stateless_normal(shape, [0, seed])

    sizes = [latent, width, width, width]
    weights = [
        normal([rows, columns], i, rows**-0.5)
        for i, (rows, columns) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
    ]
    x = normal([batch, width], 7, 1.0)

    def negative_elbo(mean, theta, seed):
        hidden = mean + 0.1 * tf.random.stateless_normal([batch, latent], seed)
        for kernel in theta[:-1]:
            hidden = tf.tanh(hidden @ kernel)
        misfit = tf.reduce_mean((x - hidden @ theta[-1]) ** 2, axis=1)
        return misfit + 0.5 * tf.reduce_sum(mean**2, axis=1) / width

    return negative_elbo, tf.zeros([batch, latent]), weights


def derivative(adjoint, hvp, mode, steps):
    """The derivative of a loss through refinement, traced or compiled when first called."""
    import tensorflow as tf

    from tf_savae.svi import refine

    options = {} if adjoint == "unrolled" else {"hvp": hvp}

    def run(width):
        negative_elbo, initial, weights = decoder(batch=2 * width, width=width, latent=32)

        @tf.function(jit_compile=mode == "xla", autograph=False)
        def gradient(initial, weights):
            with tf.GradientTape() as tape:
                tape.watch([initial, weights])
                settings = dict(steps=steps, step_size=0.1, seed=0, adjoint=adjoint, **options)
                refined = refine(negative_elbo, initial, weights, **settings)
                loss = tf.reduce_sum(negative_elbo(refined, weights, tf.constant([0, steps])))
            return tape.gradient(loss, [initial, weights])

        return lambda: tf.nest.map_structure(lambda t: t.numpy(), gradient(initial, weights))

    return run


def seconds(function):
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(adjoint, hvp, mode, steps, width):
    """One row of the table, measured in this process.

    Compilation takes as long for narrow layers, whose run time does not blur it.
    """
    build = derivative(adjoint, hvp, mode, steps)
    small = build(8)
    compiling = seconds(small) - seconds(small)
    large = build(width)
    held = peak_mib()
    large()
    values = (adjoint, hvp, mode, steps, compiling, seconds(large), peak_mib() - held)
    return dict(zip(COLUMNS, values, strict=True))


def measured_apart(*arguments):
    """`measure` in a child process, so that its peak is its own."""
    row = answer_of(__file__, arguments)
    if "problem" in row:
        raise RuntimeError(f"{arguments} failed: {row['problem']}")
    return row


def shown(row):
    """One line of the table."""
    return (
        f"{row['adjoint']:<9} {row['hvp']:<21} {row['mode']:<6} {row['K']:>3} "
        f"{row['compile s']:>10.2f} {row['step s']:>8.2f} {row['peak MiB']:>9.0f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", default="5,40", help="numbers of steps, comma-separated")
    parser.add_argument("--width", type=int, default=512, help="units of a layer; 2x the batch")
    parser.add_argument("--json", help="also write the rows into this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        print(json.dumps(measure(*json.loads(flags.child))))
        return
    print(
        f"{'adjoint':<9} {'hvp':<21} {'mode':<6} {'K':>3} {'compile s':>10} {'step s':>8} "
        f"{'peak MiB':>9}"
    )
    rows = []
    for case in CASES:
        for steps in map(int, flags.steps.split(",")):
            rows.append(measured_apart(*case, steps, flags.width))
            print(shown(rows[-1]), flush=True)
    print(json.dumps(rows))
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
