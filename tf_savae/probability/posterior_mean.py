"""Computes the mean of a posterior, by Monte Carlo if it has no closed form (flows)."""

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Distribution, TensorLike

__all__ = ["posterior_mean", "zero_codes"]

_SAMPLES = 100


def posterior_mean(posterior: Distribution) -> tf.Tensor:
    """Returns E[z], [B, Z]; without a closed form in TFP, the average of 100 samples, fixed seed.

    Args:
      posterior: TFP distribution, batch shape [B], event shape [Z].

    >>> from tf_savae.probability import DiagonalGaussian
    >>> posterior_mean(DiagonalGaussian().distribution((tf.ones([1, 2]), tf.zeros([1, 2])))).numpy()
    array([[1., 1.]], dtype=float32)
    """
    try:
        return posterior.mean()
    except NotImplementedError:
        # One [B, Z] at a time, so that an example's result does not depend on B.
        def add(index, total):
            return index + 1, total + posterior.sample(seed=seeds.fold(0, index))

        start = 1, posterior.sample(seed=seeds.fold(0, 0))
        _, total = tf.while_loop(lambda index, _: index < _SAMPLES, add, start)
        return total / _SAMPLES


def zero_codes(posterior: Distribution, rows: TensorLike) -> tf.Tensor:
    """Returns z = 0, [rows, Z], in the posterior's dtype.

    >>> from tf_savae.probability import standard_normal
    >>> zero_codes(standard_normal(3), 2).shape.as_list()
    [2, 3]
    """
    return tf.zeros(tf.TensorShape([rows]).concatenate(posterior.event_shape), posterior.dtype)
