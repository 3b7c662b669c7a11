"""Objectives for refinement_study.py in which only a part of the total derivative trains.

SA-VAE's derivative reaches the encoder through the steps, and theta both directly, at lambda_K,
and through the steps. `EncoderPart` leaves out theta's second part; `VAESVIExact` leaves out the
encoder's: it is trained on its own ELBO, as VAE + SVI's. `straight through`, the adjoint that is
the identity, is `svi.Truncated(0)`. `reference_product` is what the implementation of 2018 takes
for a Hessian-vector product.
"""

import dataclasses

import tensorflow as tf

from tf_savae.objectives import SAVAE, VAESVIExact
from tf_savae.objectives.batch_objective import at_constant_weights

__all__ = ["PARTS", "reference_product"]

EPSILON, MAX_NORM = 1e-5, 5.0


class EncoderPart(SAVAE):
    """Encoder and update rule end to end; theta on the ELBO at lambda_K held constant."""

    path_weight = None

    def loss(self, batch):
        fixed = dataclasses.replace(batch, theta=at_constant_weights(batch.theta))
        initial = batch.encode()
        refined, start = fixed.refined(initial)
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        extra = batch.amortized_weight * batch.amortized_objective(initial, start)
        return outcome._replace(loss=outcome.loss + extra)


PARTS = {"encoder": EncoderPart, "theta": VAESVIExact}


def reference_product(objective, parameters, theta, seed, vector):
    """The "Hessian-vector product" of 2018, as a `svi.Exact(hvp=...)`.

    (c(g(lambda + eps v)) - g) / eps with eps = 1e-5, where c clips the joint gradient in (lambda,
    theta) of the *batch mean* to norm 5 at the moved point, while the gradient at the point itself
    was clipped in lambda alone; the quotient is clipped to norm 5 again. Where the joint norm
    exceeds 5 the quotient is not a second derivative at all.
    """
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
