"""Importance-weighted estimate of log p(x) (Burda et al. 2016, https://arxiv.org/abs/1509.00519)."""

from collections.abc import Callable

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import Distribution, Seed, TensorLike

__all__ = ["importance_weighted_log_likelihood"]


def importance_weighted_log_likelihood(
    log_likelihood: Callable[..., tf.Tensor],
    posterior: Distribution,
    prior: Distribution,
    samples: TensorLike,
    seed: Seed,
) -> tf.Tensor:
    """Returns the importance-weighted bound on log p(x), which is tight as S grows.

    The bound is log (1/S) sum_s p(x | z_s) p(z_s) / q(z_s), z_s ~ q. Each iteration of a while loop
    draws one sample, so memory does not grow with S. The sum is accumulated as (largest weight,
    scaled sum) in float64.

    Args:
      log_likelihood: maps (z [B, Z], seed) to log p(x | z), [B], nats.
      posterior: TFP distribution q, batch shape [B].
      prior: TFP distribution over [Z].
      samples: S, a Python int, or an int scalar tensor of at least 1.
      seed: int or stateless seed [2].

    Returns:
      [B], float64 nats.

    >>> from tf_savae.probability import DiagonalGaussian, standard_normal
    >>> q = DiagonalGaussian().distribution((tf.zeros([3, 2]), tf.zeros([3, 2])))
    >>> estimate = importance_weighted_log_likelihood(
    ...     lambda z, seed: -tf.ones([3]), q, standard_normal(2), samples=5, seed=0)
    >>> estimate.numpy().round(5).tolist()
    [-1.0, -1.0, -1.0]
    """
    if not tf.is_tensor(samples):
        samples = validation.positive_int("samples", samples)
    seed = seeds.as_seed(seed)

    def log_weight(index):
        draw, noise = seeds.split(seeds.fold(seed, index), 2)
        z = posterior.sample(seed=draw)
        ratio = prior.log_prob(z) - posterior.log_prob(z)
        return tf.cast(log_likelihood(z, noise) + ratio, tf.float64)

    def body(index, largest, total):
        weight = log_weight(index)
        higher = tf.maximum(largest, weight)
        # If all weights are 0 (log -inf), their differences would be NaN.
        shift = tf.where(tf.math.is_inf(higher), tf.zeros_like(higher), higher)
        total = total * tf.exp(largest - shift) + tf.exp(weight - shift)
        return index + 1, higher, total

    first = log_weight(0)
    _, largest, total = tf.while_loop(
        lambda index, *_: index < samples,
        body,
        (tf.constant(1), first, tf.ones_like(first)),
        parallel_iterations=1,
    )
    return largest + tf.math.log(total / tf.cast(samples, total.dtype))
