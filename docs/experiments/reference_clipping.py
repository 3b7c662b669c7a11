#!/usr/bin/env python3
"""What the exact derivative buys: SA-VAE trained with the reference code's clipped differences.

The implementation of 2018 replaces each Hessian-vector product by (c(g(lambda + eps v)) - g) / eps
with eps = 1e-5, where c clips the joint gradient in (lambda, theta) of the *batch mean* to norm 5
at the moved point, while the gradient at the point itself was clipped in lambda alone; the
quotient is clipped to norm 5 again. Whenever the joint norm exceeds 5 the quotient is not a
second derivative at all. This script trains text exactly as bin/train_text.py --system=savae
does, with that product in the place of the exact one. It is an experiment, not an option:

    python docs/experiments/reference_clipping.py --config=small --train_file=... --workdir=...
"""

import sys
from pathlib import Path

import tensorflow as tf
from absl import app

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))
import train_text  # noqa: E402 Its flags and its main are used as they are.

from tf_savae.tasks.text import task  # noqa: E402

EPSILON, MAX_NORM = 1e-5, 5.0


def reference_product(objective, parameters, theta, seed, vector):
    """The reference's "Hessian-vector product", with the signature of `tf_savae.svi.hvp`."""
    batch = tf.cast(tf.shape(parameters[0])[0], parameters[0].dtype)
    weights = tf.ones([tf.shape(parameters[0])[0]]) / batch
    # Its step size multiplies the gradient of a batch mean: its vector is ours times the batch.
    moved = [p + EPSILON * batch * v for p, v in zip(parameters, vector, strict=True)]
    here, here_theta = objective.full_gradient(parameters, theta, seed, weights)
    there, there_theta = objective.full_gradient(moved, theta, seed, weights)
    here, _ = tf.clip_by_global_norm(here, MAX_NORM)
    joint, _ = tf.clip_by_global_norm([*there, *there_theta], MAX_NORM)
    quotient = [(a - b) / EPSILON for a, b in zip(joint, [*here, *here_theta], strict=True)]
    quotient, _ = tf.clip_by_global_norm(quotient, MAX_NORM)
    return quotient[: len(parameters)], quotient[len(parameters) :]


def with_reference_product(build_model):
    """`build_model` whose models use the reference's product in training."""

    def build(config, texts):
        model = build_model(config, texts)
        model.hvp = reference_product
        return model

    return build


if __name__ == "__main__":
    task.build_model = with_reference_product(task.build_model)
    sys.argv += ["--system=savae", "--hvp=finite_difference"]
    app.run(train_text.main)
