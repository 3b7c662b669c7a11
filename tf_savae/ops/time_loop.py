"""Loops over time, and access to single time steps of a tensor [T, ...] inside them."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["length", "over_time", "time_slices"]

_SHORT = 8


def over_time(
    steps: int | tf.Tensor, body: Callable[..., Sequence[Any]], variables: Sequence[Any]
) -> Sequence[Any]:
    """Runs `variables = body(number, *variables)` for number = 0, ..., `steps` - 1.

    It is a while loop, so that the size of programs does not depend on T. Up to 8 steps are
    unrolled, since the overhead of a loop would be as large as the cost of the cell.

    >>> over_time(3, lambda number, total: (total + number,), (tf.constant(1),))[0].numpy().item()
    4
    """
    if isinstance(steps, int) and steps <= _SHORT:
        for number in range(steps):
            variables = body(tf.constant(number), *variables)
        return variables
    _, *variables = tf.while_loop(
        lambda number, *_: number < steps,
        lambda number, *values: (number + 1, *body(number, *values)),
        (tf.constant(0), *variables),
        maximum_iterations=steps,
    )
    return variables


def time_slices(tensor: tf.Tensor) -> tf.TensorArray:
    """Returns a TensorArray of the time steps of `tensor` [T, ...].

    It replaces `tensor[t]`, whose gradient in a loop adds a full tensor [T, ...] at each step.

    >>> float(time_slices(tf.constant([[1.0], [2.0]])).read(1)[0])
    2.0
    """
    array = tf.TensorArray(
        tensor.dtype, length(tensor), element_shape=tensor.shape[1:], clear_after_read=False
    )
    return array.unstack(tensor)


def length(tensor: tf.Tensor) -> int | tf.Tensor:
    """Returns T as an int, or as a tensor if it is not static.

    >>> length(tf.zeros([3, 2]))
    3
    """
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]
