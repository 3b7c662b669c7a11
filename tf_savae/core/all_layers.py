"""The layers inside a Keras layer; Keras itself offers them under a private name alone."""

import keras

__all__ = ["all_layers"]


def all_layers(layer):
    """The layer and all layers inside it, at any depth; [] for what is no Keras layer.

    >>> inner = keras.layers.Dense(2)
    >>> inner in all_layers(keras.Sequential([inner]))
    True
    """
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []
