"""Read variables in their own precision, outside of any Keras autocast scope."""

import contextlib

# No public names for it; checked with Keras 3.15.1. `AutocastScope(None)` makes every float
# variable claim to be float32.
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import get_autocast_scope

__all__ = ["full_precision"]


@contextlib.contextmanager
def full_precision():
    """A context in which Keras variables are read as they are, and not in a layer's compute dtype.

    `keras.Layer.__call__` casts what is read inside of it, also for models that do not autocast.

    >>> import keras
    >>> variable = keras.Variable(1 / 3)
    >>> with keras.src.backend.common.variables.AutocastScope("bfloat16"):
    ...     with full_precision():
    ...         keras.backend.standardize_dtype(variable.value.dtype)
    'float32'
    """
    before = get_autocast_scope()
    global_state.set_global_attribute("autocast_scope", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("autocast_scope", before)
