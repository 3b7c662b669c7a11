"""Average the ELBO at given parameters over many samples of z."""

import tensorflow as tf

from tf_savae.core import seeds

__all__ = ["average_terms", "average_bound"]


def average_terms(problem, parameters, samples, seed):
    """(nll [B], kl [B]): the terms of the negative ELBO, means over samples, float64 nats.

    Memory does not grow with the samples: one is drawn at each step of a while loop. The same
    seed means the same noise, so two sets of parameters can be compared under common random
    numbers.

    Args:
      problem: what `model.problem(x, seed)` returned.
      parameters: the family's nest of tensors [B, ...].
      samples: M, a Python int.
      seed: stateless seed [2].
    """

    def add(index, nll, kl):
        noise = seeds.fold(seed, index)
        terms = problem.generator.terms(parameters, problem.theta, noise)
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


def average_bound(problem, parameters, samples, seed):
    """The negative ELBO [B], a mean over samples; see `average_terms`."""
    nll, kl = average_terms(problem, parameters, samples, seed)
    return nll + kl
