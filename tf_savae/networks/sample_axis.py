"""Merge S samples of z for each of B examples into S B rows of one batch, ordered by sample."""

import tensorflow as tf

__all__ = ["merge", "repeat_rows", "unmerge"]


def merge(tensor: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Reshapes [..., S, B, ...], with S at `axis`, to [..., S B, ...].

    >>> merge(tf.zeros([5, 2, 3, 4]), axis=1).shape.as_list()
    [5, 6, 4]
    """
    sizes = _sizes(tensor)
    return tf.reshape(tensor, [*sizes[:axis], sizes[axis] * sizes[axis + 1], *sizes[axis + 2 :]])


def unmerge(tensor: tf.Tensor, samples: int, axis: int = 0) -> tf.Tensor:
    """Reshapes [..., S B, ...], with S B at `axis`, to [..., S, B, ...].

    >>> unmerge(tf.zeros([5, 6, 4]), 2, axis=1).shape.as_list()
    [5, 2, 3, 4]
    """
    sizes = _sizes(tensor)
    return tf.reshape(tensor, [*sizes[:axis], samples, sizes[axis] // samples, *sizes[axis + 1 :]])


def repeat_rows(tensor: tf.Tensor, samples: int, axis: int = 0) -> tf.Tensor:
    """Repeats [..., B, ...], with B at `axis`, to [..., S B, ...]: all rows, `samples` times.

    >>> repeat_rows(tf.constant([4, 7]), 2).numpy().tolist()
    [4, 7, 4, 7]
    """
    sizes = _sizes(tensor)
    whole = [*sizes[:axis], samples, *sizes[axis:]]
    return merge(tf.broadcast_to(tf.expand_dims(tensor, axis), whole), axis)


def _sizes(tensor):
    """Returns the sizes, as ints if they are static."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if n is None else n for i, n in enumerate(tensor.shape.as_list())]
