"""Fall back to lambda_0, per example, where refinement made the ELBO worse.

Both ends see the same noise, and another one than the ELBO that is reported: choosing the better
end by that one's own noise would make its average too good.
"""

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.svi import per_example

__all__ = ["better_of"]

_COMPARISON = 2**30 + 1  # A stream of noise that no step has: steps count from 0.


def better_of(negative_elbo, initial, refined, theta, seed, samples):
    """Per example, `refined`, or `initial` where that has the lower negative ELBO.

    The choice is a constant of every derivative: a gradient goes to the chosen end alone, which is
    the exact gradient of the result wherever the two ends do not tie.

    Args:
      negative_elbo: (parameters, theta, seed) -> [B], nats.
      initial, refined: nests of tensors [B, ...].
      theta: nest, as `negative_elbo` takes it.
      seed: int or stateless seed [2]; that of the refinement.
      samples: draws of noise that the two are compared by, averaged.

    Returns:
      (nest like `refined`, fell_back bool [B]). A refined end whose value is NaN or infinite counts
      as worse.

    >>> def cost(parameters, theta, seed):
    ...     return tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> chosen, fell_back = better_of(
    ...     cost, tf.ones([2, 1]), tf.constant([[3.0], [0.5]]), tf.zeros([]), 0, samples=1)
    >>> chosen.numpy().tolist(), fell_back.numpy().tolist()
    ([[1.0], [0.5]], [True, False])
    """
    fixed = tf.nest.map_structure(tf.stop_gradient, (initial, refined, theta))
    noise = seeds.fold(seed, _COMPARISON)
    before, after = (_average(negative_elbo, end, fixed[2], noise, samples) for end in fixed[:2])
    # Not ~(after <= before): TensorFlow's graph optimizer makes that after > before, NaN or not.
    fell_back = (after > before) | ~tf.math.is_finite(after)

    def chosen(old, new):
        return tf.where(per_example.expand_like(fell_back, new), old, new)

    return tf.nest.map_structure(chosen, initial, refined), fell_back


def _average(negative_elbo, parameters, theta, noise, samples):
    """[B]: over the draws, in a loop, so that the time to compile does not grow with them."""
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
