"""Data of the synthetic experiment: sentences drawn from an oracle p(z) p(x | z)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import TensorLike

__all__ = ["OracleData", "draw_oracle_data"]

_BATCH = 1000  # Rows drawn at a time, which bounds the memory of logits [B, V].


class OracleData(NamedTuple):
    """Three datasets, each of int32 rows [N, T] of words 0 .. V - 1."""

    train: Any
    validation: Any
    test: Any


def draw_oracle_data(
    sample: Callable[[tf.Tensor, tf.Tensor], TensorLike],
    sizes: Sequence[int],
    *,
    vocabulary_size: int,
    latent_size: int = 2,
    seed: int = 0,
) -> OracleData:
    """Draws z from the standard normal distribution and x from p(x | z), for three datasets.

    Args:
      sample: maps (z float32 [B, Z], stateless seed [2]) to int32 rows [B, T], such as
        `lambda z, seed: OracleDecoder().sample(z, seed, length=5)`.
      sizes: number of rows of the training, validation and test set.
      vocabulary_size: V; every word must be below it.
      latent_size: Z.
      seed: int; the same seed gives the same data. The rows of a set do not depend on the sizes of
        the other sets.

    Returns:
      `OracleData` of int32 arrays [N, T].

    Raises:
      ValueError: a size is not an integer of at least 1, or `sample` does not return one row of
        words 0 .. V - 1 for each z.

    >>> def sample(z, seed):
    ...     return tf.cast(z > 0, tf.int32)
    >>> draw_oracle_data(sample, (6, 4, 2), vocabulary_size=2, seed=1).train.shape
    (6, 2)
    """
    names = OracleData._fields
    counts = [validation.positive_int(n, size) for n, size in zip(names, sizes, strict=True)]
    sets = []
    for index, count in enumerate(counts):
        rows = _rows(sample, count, latent_size, seeds.fold(seed, index))
        sets.append(_checked(names[index], rows, count, vocabulary_size))
    return OracleData(*sets)


def _rows(sample, count, latent_size, seed):
    parts = []
    for start in range(0, count, _BATCH):
        first, second = seeds.split(seeds.fold(seed, start), 2)
        size = min(_BATCH, count - start)
        z = tf.random.stateless_normal([size, latent_size], first)
        parts.append(np.asarray(sample(z, second)))
    return np.concatenate(parts)


def _checked(name, rows, count, vocabulary_size):
    if rows.ndim != 2 or len(rows) != count or rows.dtype.kind != "i":
        raise ValueError(
            f"sample: expected integer rows [{count}, T] for the {name} set, got "
            f"{rows.dtype} {list(rows.shape)}."
        )
    if rows.min() < 0 or rows.max() >= vocabulary_size:
        raise ValueError(
            f"sample: expected token ids from 0 to {vocabulary_size - 1}, got {rows.min()} to "
            f"{rows.max()}."
        )
    return rows.astype(np.int32)
