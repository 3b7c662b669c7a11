"""A tensor [T, ...] read one time step at a time inside loops."""

import tensorflow as tf

__all__ = ["length", "time_slices"]


def time_slices(tensor):
    """`tensor` [T, ...] by time step.

    Not `tensor[t]`: the gradient of a slice taken in a loop adds a whole [T, ...] at every step.

    >>> float(time_slices(tf.constant([[1.0], [2.0]])).read(1)[0])
    2.0
    """
    array = tf.TensorArray(
        tensor.dtype, length(tensor), element_shape=tensor.shape[1:], clear_after_read=False
    )
    return array.unstack(tensor)


def length(tensor):
    """T as an int, or as a tensor where one trace serves several lengths.

    >>> length(tf.zeros([3, 2]))
    3
    """
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]
