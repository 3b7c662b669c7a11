"""Registers classes with Keras, so that `.keras` files can load them by name."""

from typing import TypeVar

import keras

from tf_savae.core.backend import check_backend

__all__ = ["register"]

_Class = TypeVar("_Class", bound=type)

check_backend()  # Again: the backend may have changed between the imports of package and Keras.


def register(cls: _Class) -> _Class:
    """Registers `cls` with Keras as `tf_savae>ClassName`, the name written into saved files.

    >>> @register
    ... class Example:
    ...     def get_config(self):
    ...         return {}
    >>> keras.saving.get_registered_name(Example)
    'tf_savae>Example'
    """
    return keras.saving.register_keras_serializable(package="tf_savae")(cls)
