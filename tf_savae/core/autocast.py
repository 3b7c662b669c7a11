"""Reads variables in their own dtype, outside of any Keras autocast scope."""

import contextlib
from collections.abc import Iterator

from tf_savae.core import private_keras

__all__ = ["full_precision"]


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Context in which Keras variables are read in their own dtype, not in the compute dtype.

    `keras.Layer.__call__` casts variables that are read inside it, even if the model does not
    autocast.

    >>> import keras
    >>> variable = keras.Variable(1 / 3)
    >>> class Reader(keras.layers.Layer):
    ...     def call(self, x):
    ...         with full_precision():
    ...             print(variable.value.dtype.name, end=", then ")
    ...         print(variable.value.dtype.name)
    ...         return x
    >>> y = Reader(dtype="mixed_bfloat16")(keras.ops.zeros([1, 1]))
    float32, then bfloat16
    """
    before = private_keras.autocast_scope()
    private_keras.set_autocast_scope(None)
    try:
        yield
    finally:
        private_keras.set_autocast_scope(before)
