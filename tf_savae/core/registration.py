"""Register classes with Keras, so that `.keras` files load them by name."""

import keras

from tf_savae.core.backend import check_backend

__all__ = ["register"]

check_backend()  # The package is imported before Keras is, which may be set to another one since.


def register(cls):
    """Registers `cls` with Keras as `tf_savae>ClassName`, the name written into saved files.

    >>> @register
    ... class Example:
    ...     def get_config(self):
    ...         return {}
    >>> keras.saving.get_registered_name(Example)
    'tf_savae>Example'
    """
    return keras.saving.register_keras_serializable(package="tf_savae")(cls)
