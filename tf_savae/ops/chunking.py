"""Compute over many rows in chunks: the memory of one chunk, the result of all."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["in_chunks"]


def in_chunks(
    work: Callable[..., tuple[list[tf.Tensor], list[tf.Tensor]]],
    rows: Sequence[tf.Tensor],
    outputs: Sequence[tuple[Any, Any]],
    sums: Sequence[tuple[Any, Any]],
    most: int,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Runs `work` on at most `most` rows at a time, in a loop that compiles once.

    For use inside custom gradients: a derivative through the loop would store all pieces.

    Args:
      work: maps a piece of each of `rows` to a pair of lists: results of each row [size, ...], and
        sums over the piece's rows.
      rows: list of tensors [N, ...], cut into pieces of one size, as equal as can be; the last one
        is filled up with zeros. N may be unknown when this is traced.
      outputs: (dtype, shape of one row) of each result.
      sums: (dtype, shape) of each sum.
      most: rows of a piece, an int.

    Returns:
      (list of the results of all N rows, list of the sums over them).

    >>> def work(x):
    ...     return [x * x], [tf.reduce_sum(x)]
    >>> squares, totals = in_chunks(work, [tf.range(5.0)], [("float32", [])], [("float32", [])], 2)
    >>> squares[0].numpy().tolist(), float(totals[0])
    ([0.0, 1.0, 4.0, 9.0, 16.0], 10.0)
    """
    count, larger = rows[0].shape[0], max
    if count is None:
        count, larger = tf.shape(rows[0])[0], tf.maximum
    pieces = larger(1, -(-count // most))
    size = -(-count // pieces)
    arrays = [_cut(row, pieces, size, count) for row in rows]
    results = [tf.TensorArray(d, pieces, element_shape=[None, *shape]) for d, shape in outputs]

    def body(index, results, totals):
        made, added = work(*[array.read(index) for array in arrays])
        results = [r.write(index, m) for r, m in zip(results, made, strict=True)]
        return index + 1, results, [t + a for t, a in zip(totals, added, strict=True)]

    _, results, totals = tf.while_loop(
        lambda index, *_: index < pieces,
        body,
        (tf.constant(0), results, [tf.zeros(shape, dtype) for dtype, shape in sums]),
        maximum_iterations=pieces,
    )
    stacks = [result.stack() for result in results]
    flat = [tf.reshape(s, [-1, *shape]) for s, (_, shape) in zip(stacks, outputs, strict=True)]
    return [rows[:count] for rows in flat], totals


def _cut(tensor, pieces, size, count):
    """A TensorArray of the chunks, [size, ...] each."""
    missing = pieces * size - count
    filled = tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])
    array = tf.TensorArray(tensor.dtype, pieces, element_shape=[None, *tensor.shape[1:]])
    return array.unstack(tf.reshape(filled, [pieces, size, *tensor.shape[1:]]))
