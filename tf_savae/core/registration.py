"""Register classes with Keras, so that `.keras` files load them by name."""

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
