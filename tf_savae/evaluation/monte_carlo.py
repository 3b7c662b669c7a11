"""Average the ELBO at given parameters over many samples of z."""

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest
from tf_savae.objectives.batch_objective import BatchObjective

__all__ = ["average_terms", "average_bound"]


def average_terms(
    batch_objective: BatchObjective, parameters: Nest, samples: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (nll [B], kl [B]), the negative ELBO's terms averaged over samples, float64 nats.

    Memory does not grow with the number of samples: each iteration of a while loop draws one. The
    same seed gives the same noise, so that two sets of parameters can be compared under common
    random numbers.

    Args:
      batch_objective: the `BatchObjective` returned by `model.batch_objective(x, seed)`.
      parameters: the family's nest of tensors [B, ...].
      samples: M, a Python int.
      seed: stateless seed [2].
    """

    def add(index, nll, kl):
        noise = seeds.fold(seed, index)
        terms = batch_objective.generator.terms(parameters, batch_objective.theta, noise)
        return index + 1, nll + tf.cast(terms.nll, nll.dtype), kl + tf.cast(terms.kl, kl.dtype)

    batch = tf.shape(tf.nest.flatten(parameters)[0])[0]
    static = tf.nest.flatten(parameters)[0].shape[0]
    zeros = tf.ensure_shape(tf.zeros([batch], tf.float64), [static])
    _, nll, kl = tf.while_loop(
        lambda index, *_: index < samples,
        add,
        (tf.constant(0), zeros, zeros),
        parallel_iterations=1,
    )
    return nll / samples, kl / samples


def average_bound(
    batch_objective: BatchObjective, parameters: Nest, samples: int, seed: tf.Tensor
) -> tf.Tensor:
    """Returns the negative ELBO averaged over samples, [B] nats; see `average_terms`."""
    nll, kl = average_terms(batch_objective, parameters, samples, seed)
    return nll + kl
