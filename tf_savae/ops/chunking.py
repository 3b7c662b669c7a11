"""Computes over many rows in chunks, with the memory of one chunk."""

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

    For use inside custom gradients: a derivative through the loop would store all chunks.

    Args:
      work: maps a chunk of each of `rows` to a pair of lists: results per row, [size, ...] each,
        and sums over the rows of the chunk.
      rows: list of tensors [N, ...], split into chunks of equal size; the last chunk is padded with
        zeros. N may be unknown at tracing.
      outputs: (dtype, shape of one row) of each result.
      sums: (dtype, shape) of each sum.
      most: largest number of rows in a chunk, an int.

    Returns:
      (list of the results of all N rows, list of the sums over all rows).

    >>> def work(x):
    ...     return [x * x], [tf.reduce_sum(x)]
    >>> squares, totals = in_chunks(work, [tf.range(5.0)], [("float32", [])], [("float32", [])], 2)
    >>> squares[0].numpy().tolist(), float(totals[0])
    ([0.0, 1.0, 4.0, 9.0, 16.0], 10.0)
    """
    count, larger = rows[0].shape[0], max
    if count is None:
        count, larger = tf.shape(rows[0])[0], tf.maximum
    chunks = larger(1, -(-count // most))
    size = -(-count // chunks)
    arrays = [_cut(row, chunks, size, count) for row in rows]
    results = [tf.TensorArray(d, chunks, element_shape=[None, *shape]) for d, shape in outputs]

    def body(index, results, totals):
        made, added = work(*[array.read(index) for array in arrays])
        results = [r.write(index, m) for r, m in zip(results, made, strict=True)]
        return index + 1, results, [t + a for t, a in zip(totals, added, strict=True)]

    _, results, totals = tf.while_loop(
        lambda index, *_: index < chunks,
        body,
        (tf.constant(0), results, [tf.zeros(shape, dtype) for dtype, shape in sums]),
        maximum_iterations=chunks,
    )
    stacks = [result.stack() for result in results]
    flat = [tf.reshape(s, [-1, *shape]) for s, (_, shape) in zip(stacks, outputs, strict=True)]
    return [rows[:count] for rows in flat], totals


def _cut(tensor, chunks, size, count):
    """Returns a TensorArray of the chunks, [size, ...] each."""
    missing = chunks * size - count
    filled = tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])
    array = tf.TensorArray(tensor.dtype, chunks, element_shape=[None, *tensor.shape[1:]])
    return array.unstack(tf.reshape(filled, [chunks, size, *tensor.shape[1:]]))
