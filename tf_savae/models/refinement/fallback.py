"""Fall back to lambda_0, per example, if refinement made the ELBO worse.

Both ends are evaluated with the same noise. The reported ELBO uses different noise: if the better
end were chosen with that noise, the average reported ELBO would be biased upwards.
"""

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.noise_streams import RefinementStream
from tf_savae.core.typing import NegativeElbo, Nest, Seed
from tf_savae.svi import per_example

__all__ = ["better_of"]


def better_of(
    negative_elbo: NegativeElbo, initial: Nest, refined: Nest, theta: Nest, seed: Seed, samples: int
) -> tuple[Nest, tf.Tensor]:
    """Returns, per example, `refined`, or `initial` if its negative ELBO is lower.

    The choice is treated as a constant in derivatives: gradients go to the chosen end only. This is
    the exact gradient of the result unless both ends have equal values.

    Args:
      negative_elbo: (parameters, theta, seed) -> [B], nats.
      initial, refined: nests of tensors [B, ...].
      theta: nest, the argument of `negative_elbo`.
      seed: int or stateless seed [2], the seed of the refinement.
      samples: number of noise samples over which each value is averaged.

    Returns:
      (nest like `refined`, fell_back bool [B]). A refined end with a NaN or infinite value counts
      as worse.

    >>> def cost(parameters, theta, seed):
    ...     return tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> chosen, fell_back = better_of(
    ...     cost, tf.ones([2, 1]), tf.constant([[3.0], [0.5]]), tf.zeros([]), 0, samples=1)
    >>> chosen.numpy().tolist(), fell_back.numpy().tolist()
    ([[1.0], [0.5]], [True, False])
    """
    fixed = tf.nest.map_structure(tf.stop_gradient, (initial, refined, theta))
    noise = seeds.fold(seed, RefinementStream.COMPARISON)
    before, after = (_average(negative_elbo, end, fixed[2], noise, samples) for end in fixed[:2])
    # Not ~(after <= before): TensorFlow's graph optimizer rewrites it to after > before, which
    # differs for NaN.
    fell_back = (after > before) | ~tf.math.is_finite(after)

    def chosen(old, new):
        return tf.where(per_example.expand_like(fell_back, new), old, new)

    return tf.nest.map_structure(chosen, initial, refined), fell_back


def _average(negative_elbo, parameters, theta, noise, samples):
    """Returns the average [B] over the samples; a loop keeps compile time constant in them."""
    first = tf.nest.flatten(parameters)[0]
    zeros = tf.zeros(tf.shape(first)[:1], first.dtype)
    zeros.set_shape(first.shape[:1])

    def body(draw, total):
        value = negative_elbo(parameters, theta, seeds.fold(noise, draw))
        return draw + 1, total + tf.cast(value, total.dtype) / samples

    return tf.while_loop(
        lambda draw, _: draw < samples,
        body,
        (tf.constant(0), zeros),
        parallel_iterations=1,
        maximum_iterations=samples,
    )[1]
