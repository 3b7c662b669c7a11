"""The one decorator that makes a class loadable from a `.keras` file by its own name."""

import keras

__all__ = ["register"]


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
