"""Stateless seeds: int32 tensors of shape [2], derived and never advanced.

A seed is a value without state, so SVI step k can be replayed from its seed alone. The backward
pass of refinement draws the same noise and dropout masks as the forward pass.
"""

import numpy as np
import tensorflow as tf

from tf_savae.core.typing import Seed, TensorLike

__all__ = ["as_seed", "fold", "plain_seed", "split"]


def as_seed(seed: Seed) -> tf.Tensor:
    """Returns a stateless seed for an int, a pair of ints or an int tensor of shape [2].

    Args:
      seed: a Python int, a sequence of two ints, or an integer tensor of shape [] or [2].

    Returns:
      An int32 tensor of shape [2].

    Raises:
      ValueError: the seed is None, has another shape or does not fit into 32 bits.
      TypeError: the seed is not of an integer dtype.

    >>> as_seed(7).shape.as_list()
    [2]
    """
    if seed is None:
        raise ValueError("seed: expected an int or an int tensor of shape [2], got None.")
    if not tf.is_tensor(seed):
        _check_constant(seed)
    seed = tf.convert_to_tensor(seed)
    if not seed.dtype.is_integer:
        raise TypeError(f"seed: expected an integer dtype, got {seed.dtype.name}.")
    seed = tf.cast(seed, tf.int32)
    if seed.shape.rank == 0:
        return tf.stack([tf.zeros([], tf.int32), seed])
    if seed.shape.as_list() != [2]:
        raise ValueError(f"seed: expected shape [] or [2], got shape {seed.shape.as_list()}.")
    return seed


def _check_constant(seed):
    """Raises for constants that would silently lose bits when cast to int32."""
    values = np.asarray(seed)
    if values.dtype == object:
        raise TypeError(f"seed: expected an int or an int tensor of shape [2], got {seed!r}.")
    if values.dtype.kind in "iu" and np.any((values >= 2**31) | (values < -(2**31))):
        raise ValueError(f"seed: expected 32-bit integers, from -2**31 to 2**31 - 1, got {seed!r}.")


def plain_seed(seed: Seed) -> int | list[int]:
    """Returns a seed as an int or a list of two ints, for configurations; raises as `as_seed`.

    >>> plain_seed(np.int64(7))
    7
    """
    as_seed(seed)
    return np.asarray(seed).tolist()


def fold(seed: Seed, data: TensorLike) -> tf.Tensor:
    """Derives the seed number `data` (int or scalar integer tensor) from `seed`.

    >>> bool(tf.reduce_all(fold(as_seed(1), 2) == fold(as_seed(1), 3)))
    False
    """
    return tf.random.experimental.stateless_fold_in(as_seed(seed), tf.cast(data, tf.int32))


def split(seed: Seed, count: int) -> list[tf.Tensor]:
    """Splits one seed into a list of `count` independent seeds.

    >>> len(split(0, 3))
    3
    """
    return tf.unstack(tf.random.split(as_seed(seed), count), num=count)
