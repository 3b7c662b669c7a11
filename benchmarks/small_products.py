#!/usr/bin/env python3
"""How fast XLA multiplies small matrices: python benchmarks/small_products.py --threads=2

The products of one refinement step of the oracle (vocabulary 1,000, hidden 100, 5 words, batch 50),
each in a loop of its own inside one compiled program, beside a large product: GFLOP/s, medians.
Run with one thread and with two to see what the second one brings.
"""

import os
import statistics
import time

import tensorflow as tf
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("threads", 2, "threads and cores to use", lower_bound=1)
flags.DEFINE_integer("repeats", 9, "runs of each loop", lower_bound=1)

_ROWS, _HIDDEN, _WORDS = 250, 100, 1000
PRODUCTS = {  # name: rows, inner size, columns, which factor lies the other way, times per run
    "logits": (_ROWS, _HIDDEN, _WORDS, None, 40),
    "logits of half a batch": (_ROWS // 2, _HIDDEN, _WORDS, None, 80),
    "gradient in hidden states": (_ROWS, _WORDS, _HIDDEN, "right", 40),
    "gradient in weights": (_HIDDEN, _ROWS, _WORDS, "left", 40),
    "recurrent": (50, _HIDDEN, 4 * _HIDDEN, None, 200),
    "large": (2000, 2000, 2000, None, 2),
}


def looped(rows, inner, columns, turned, times):
    """A compiled program of so many products, each of which waits for the one before."""
    left = tf.random.normal([inner, rows] if turned == "left" else [rows, inner])
    right = tf.random.normal([columns, inner] if turned == "right" else [inner, columns])

    def body(number, factor, _):
        product = tf.matmul(
            factor, right, transpose_a=turned == "left", transpose_b=turned == "right"
        )
        return number + 1, factor + 1e-9 * product[0, 0], product

    def run():
        start = (tf.constant(0), left, tf.zeros([rows, columns]))
        return tf.while_loop(lambda number, *_: number < times, body, start)[2][0, 0]

    return tf.function(run, jit_compile=True, autograph=False)


def rate(name, repeats):
    """Median GFLOP/s of a product of `PRODUCTS`."""
    rows, inner, columns, _, times = PRODUCTS[name]
    program = looped(*PRODUCTS[name])
    program().numpy()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        program().numpy()
        seconds.append(time.perf_counter() - start)
    return 2e-9 * rows * inner * columns * times / statistics.median(seconds)


def main(argv):
    del argv
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])
    tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    for name, (rows, inner, columns, *_) in PRODUCTS.items():
        size = f"[{rows}, {inner}] x [{inner}, {columns}]"
        print(f"{name:26} {size:28} {rate(name, FLAGS.repeats):6.0f} GFLOP/s", flush=True)


if __name__ == "__main__":
    app.run(main)
