"""Validate step sizes of update rules and convert them to tensors."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core.typing import Nest

__all__ = ["check_step_size", "step_sizes"]


def check_step_size(step_size: Nest) -> Nest:
    """Returns `step_size`, a number, a tensor or a nest of them, after checking its numbers.

    Raises:
      ValueError: a number is negative or not finite.

    >>> check_step_size(0.1)
    0.1
    """
    for size in tf.nest.flatten(step_size):
        if not _is_tensor(size):
            _check_constant(size)
    return step_size


def step_sizes(step_size: Nest, initial: Nest) -> list[tf.Tensor]:
    """Returns one step-size tensor for each leaf of `initial`, with the leaf's dtype.

    Args:
      step_size: a number or tensor, or a nest of them like `initial`.
      initial: nest of float tensors [B, ...].

    Raises:
      ValueError: a step size is negative or not finite, or does not broadcast to its leaf.

    >>> [float(size) for size in step_sizes((0.1, 0.2), (tf.zeros([2, 3]), tf.zeros([2, 3])))]
    [0.10000000149011612, 0.20000000298023224]
    """
    leaves = tf.nest.flatten(initial)
    if tf.nest.is_nested(step_size):
        _check_structure(step_size, initial)
        sizes = tf.nest.flatten(step_size)
    else:
        sizes = [step_size] * len(leaves)
    return [_step_size(size, leaf) for size, leaf in zip(sizes, leaves, strict=True)]


def _check_structure(step_size, initial):
    try:
        # Saved tuples are loaded as lists.
        tf.nest.assert_same_structure(step_size, initial, check_types=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "step_size: expected one number, or a nest with the structure of initial; got "
            f"{step_size!r}."
        ) from error


def _step_size(size, leaf):
    if not _is_tensor(size):
        _check_constant(size)
        size = tf.constant(np.asarray(size, leaf.dtype.as_numpy_dtype))
    elif isinstance(size, keras.Variable):
        size = size.value
    size = tf.cast(size, leaf.dtype)
    if not _broadcasts(size.shape, leaf.shape):
        raise ValueError(
            f"step_size: shape {size.shape.as_list()} does not broadcast to the parameter's shape "
            f"{leaf.shape.as_list()}."
        )
    return size


def _is_tensor(size):
    return tf.is_tensor(size) or isinstance(size, keras.Variable)


def _check_constant(size):
    values = np.asarray(size)
    if values.dtype.kind not in "fiu" or not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError(f"step_size: expected finite numbers >= 0, got {size!r}.")


def _broadcasts(shape, target):
    try:
        return tf.broadcast_static_shape(shape, target).as_list() == target.as_list()
    except ValueError:
        return False
