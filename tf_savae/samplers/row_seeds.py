"""Noise per row: row i draws from (seed, i), whatever its batch.

So the same seed gives the same samples however many are drawn at a time. Bits are drawn as whole
integers: those are the same numbers in eager mode and under XLA, which floats are not.
"""

from collections.abc import Callable

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest, TensorLike

__all__ = ["map_rows", "row_seeds", "row_uniforms"]

_BITS = 53  # of a float64's fraction


def row_seeds(seed: TensorLike, rows: TensorLike, first: TensorLike = 0) -> tf.Tensor:
    """A stateless seed for each row, int32 [B, 2].

    Args:
      seed: int, stateless seed [2], or [B, 2]: each row's own seed, returned as it is.
      rows: B, an int or int tensor.
      first: number of the first row, for rows that are part of a longer series.

    Raises:
      ValueError: the seed has another shape.

    >>> bool(tf.reduce_all(row_seeds(7, 2, first=3) == row_seeds(7, 5)[3:]))
    True
    """
    if tf.is_tensor(seed) and seed.shape.rank == 2:
        known = tf.TensorShape([rows if isinstance(rows, int) else None, 2])
        if not seed.shape.is_compatible_with(known):
            raise ValueError(
                f"seed: expected one seed for each row, shape {known.as_list()}, got "
                f"{seed.shape.as_list()}."
            )
        return tf.cast(seed, tf.int32)
    numbers = tf.range(rows) + first
    # Folding in a row's number keeps the first half and writes the number into the second.
    start = seeds.fold(seed, 0)[0]
    return tf.stack([tf.fill(tf.shape(numbers), start), numbers], axis=1)


def row_uniforms(row_seed: tf.Tensor, count: int) -> tf.Tensor:
    """Uniform numbers in [0, 1), float64 [B, count]: row i's from row_seed[i] (int32 [B, 2]) alone.

    The first numbers of a row do not depend on `count`.

    >>> row_uniforms(row_seeds(0, 3), 4).shape.as_list()
    [3, 4]
    """

    def one(seed):
        return tf.random.stateless_uniform(
            [count], seed, minval=None, maxval=None, dtype=tf.int64, alg="philox"
        )

    bits = tf.map_fn(one, row_seed, fn_output_signature=tf.TensorSpec([count], tf.int64))
    whole = tf.bitwise.right_shift(bits, tf.constant(64 - _BITS, tf.int64)) + 2 ** (_BITS - 1)
    return tf.cast(whole, tf.float64) * 2.0**-_BITS


def map_rows(function: Callable[..., Nest], row_seed: tf.Tensor, *nests: Nest) -> Nest:
    """`function(seed [2], *rows)` for each row, stacked; rows keep a batch dimension of 1.

    What can be computed for all rows at once is; only the drawing goes row by row.

    Args:
      function: maps (seed, nests of tensors [1, ...]) to a nest of tensors [1, ...].
      row_seed: int32 [B, 2].
      nests: nests of tensors [B, ...].

    >>> draw = lambda seed, mean: mean + tf.random.stateless_normal([1, 2], seed)
    >>> map_rows(draw, row_seeds(0, 3), tf.zeros([3, 2])).shape.as_list()
    [3, 2]
    """

    def one(row):
        seed, *parts = row
        parts = tf.nest.map_structure(lambda part: part[None], parts)
        return tf.nest.map_structure(lambda part: part[0], function(seed, *parts))

    return tf.vectorized_map(one, (row_seed, *nests), warn=False)
