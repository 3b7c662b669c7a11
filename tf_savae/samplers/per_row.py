"""Noise per row: row i uses (seed, i), independently of its batch.

Therefore the same seed gives the same samples for every batch size. Random bits are drawn as
integers, because these are equal in eager mode and under XLA, whereas floats are not.
"""

from collections.abc import Callable

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest, TensorLike

__all__ = ["map_rows", "row_seeds", "row_uniforms"]

_BITS = 53  # Precision of a float64's significand.


def row_seeds(seed: TensorLike, rows: TensorLike, first: TensorLike = 0) -> tf.Tensor:
    """Returns a stateless seed for each row, int32 [B, 2].

    Args:
      seed: int or stateless seed [2]; or one seed per row, [B, 2], which is returned as int32.
      rows: B, an int or int tensor.
      first: index of the first row, for rows that are part of a longer series.

    Raises:
      ValueError: a seed of rank 2 does not have shape [B, 2].

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
    # `fold(seed, row)` has the same first element for all rows; the second element is the row.
    start = seeds.fold(seed, 0)[0]
    return tf.stack([tf.fill(tf.shape(numbers), start), numbers], axis=1)


def row_uniforms(row_seed: tf.Tensor, count: int) -> tf.Tensor:
    """Returns uniform numbers in [0, 1), float64 [B, count].

    Row i depends only on row_seed[i] (`row_seed`: int32 [B, 2]). The first numbers of a row do not
    depend on `count`.

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
    """Returns `function(seed [2], *rows)` of each row, stacked; rows have a batch dimension of 1.

    The computation is vectorised over rows; only operations that draw noise run row by row.

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
