#!/usr/bin/env python3
"""Noise of a refinement step's gradient for S samples of z: python benchmarks/sample_variance.py

A VAE is trained for `--train_steps` steps on data of some structure: `dense` on the pairs of
docs/experiments/study_data.py, `text` on builtin:sentences and `image` on builtin:shapes, with
networks of the sizes of benchmarks/samples.py. Then the gradient of the negative ELBO in the
encoder's parameters is drawn `--draws` times for one batch. Shown is its variance, summed over
dimensions and averaged over examples, of the mean's and of the log-variance's part, as a multiple
of that of the first program. A program is S, with `a` for antithetic pairs, as in
benchmarks/samples.py, which has the price of each.
"""

import dataclasses
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from samples import MODELS

import tf_savae
from tf_savae.core import seeds
from tf_savae.data import Vocabulary, load_sentences, load_shapes

sys.path.append(str(Path(__file__).parents[1] / "docs" / "experiments"))

from study_data import DATA, token_rows  # noqa: E402 Its folder is known first.

FLAGS = flags.FLAGS


def define_flags():
    """The command's flags; not on import, where other commands have theirs."""
    flags.DEFINE_list("models", ["dense", "text", "image"], "which models")
    flags.DEFINE_list("programs", ["4", "1", "2", "2a", "4a"], "numbers of samples; a: antithetic")
    flags.DEFINE_integer("train_steps", 1000, "training steps of the VAE", lower_bound=1)
    flags.DEFINE_integer("draws", 200, "gradients of each program", lower_bound=2)


def sentences():
    """Training tokens [N, 12]; longer sentences are cut."""
    lines = load_sentences()["train"].x
    return token_rows(Vocabulary.build(lines, max_size=1000), lines)


ROWS = {  # Training rows.
    "dense": lambda: DATA["pairs"](0).train,
    "text": sentences,
    "image": lambda: load_shapes()["train"].x,
}


def trained(name):
    """A VAE after its training steps, and a batch of its data."""
    keras.utils.set_random_seed(0)
    encoder, decoder, latent_size, batch = MODELS[name]()
    rows = ROWS[name]()
    model = tf_savae.SemiAmortizedVAE(
        encoder, decoder, latent_size=latent_size, objective="vae", seed=0,
        beta=tf_savae.linear_kl_weight(FLAGS.train_steps // 2, start=0.1),
    )
    model.compile(keras.optimizers.Adam(2e-3, global_clipnorm=5.0))
    data = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=0).repeat()
    model.fit(data.batch(len(batch)), epochs=1, steps_per_epoch=FLAGS.train_steps, verbose=0)
    return model, rows[: len(batch)]


def variances(model, x, program):
    """(mean's, log-variance's): the variance of each part of the gradient, over its draws."""
    samples, antithetic = int(program.rstrip("a")), program.endswith("a")

    @tf.function(autograph=False)
    def gradient(draw):
        problem = model.batch_objective(x, [0, 0], training=False, steps=0)
        problem = dataclasses.replace(problem, antithetic=antithetic)
        initial = [tf.stop_gradient(p) for p in problem.encode()]
        noises = seeds.split(seeds.fold(7, draw), samples)
        with tf.GradientTape() as tape:
            tape.watch(initial)
            value = tf.reduce_sum(problem.objective.average(initial, problem.theta, noises))
        return tape.gradient(value, initial)

    drawn = [gradient(tf.constant(i)) for i in range(FLAGS.draws)]
    return [float(np.var(np.stack(part), axis=0, ddof=1).sum(-1).mean())
            for part in zip(*drawn, strict=True)]


def main(_):
    print(f"after {FLAGS.train_steps} steps of a VAE, {FLAGS.draws} gradients")
    print("| model | S | variance, mean's part | log-variance's part | both |")
    print("|---|---|---|---|---|")
    for name in FLAGS.models:
        model, x = trained(name)
        found = {program: variances(model, x, program) for program in FLAGS.programs}
        first = found[FLAGS.programs[0]]
        for program, (mean, spread) in found.items():
            both = (mean + spread) / sum(first)
            print(f"| {name} | {program} | {mean / first[0]:.2f} | {spread / first[1]:.2f} "
                  f"| {both:.2f} |", flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
