"""`ResidualEncoder`: the paper's convolutional encoder of images (Kim et al. 2018, section 4.3)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Distribution, Nest
from tf_savae.networks.layers import ParameterHead
from tf_savae.probability import Family, as_family

__all__ = ["ResidualEncoder"]

_MOMENTUM = 0.9  # Of the moving statistics; Keras' default 0.99 adapts too slowly.


@register
class ResidualBlock(ChecksSettings, keras.layers.Layer):
    """A residual block: two 3 x 3 convolutions with batch normalisation, and stride 2.

    He et al. 2016, https://arxiv.org/abs/1512.03385.

    >>> ResidualBlock(4)(tf.zeros([2, 7, 7, 3])).shape.as_list()
    [2, 4, 4, 4]
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = validation.positive_int("channels", channels)
        self.first = self._convolution(3, strides=2)
        self.second = self._convolution(3)
        self.shortcut = self._convolution(1, strides=2)
        self.norms = [
            keras.layers.BatchNormalization(momentum=_MOMENTUM, dtype=self.dtype_policy)
            for _ in range(3)
        ]

    def _convolution(self, size, strides=1):
        """Returns a convolution without bias, which the batch normalisation would remove."""
        return keras.layers.Conv2D(
            self.channels,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
        )

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        inner, outer, beside = self.norms
        features = tf.nn.relu(inner(self.first(x), training=training))
        features = outer(self.second(features), training=training)
        return tf.nn.relu(features + beside(self.shortcut(x), training=training))

    def get_config(self) -> Config:
        return {**super().get_config(), "channels": self.channels}


@register
class ResidualEncoder(ChecksSettings, keras.layers.Layer):
    """Residual blocks, each halving the resolution, then a linear layer to the parameters.

    Batch normalisation uses batch statistics in training and moving statistics otherwise. Only
    lambda_0 depends on the batch: refinement is per example.

    Args:
      latent_size: Z.
      channels: channels of each block; the paper uses (64, 64, 64).
      family: variational family (a diagonal Gaussian by default).

    >>> encoder = ResidualEncoder(latent_size=2, channels=(4, 4))
    >>> mean, log_variance = encoder(tf.zeros([3, 8, 8, 1]))
    >>> mean.shape.as_list()
    [3, 2]
    """

    def __init__(
        self,
        latent_size: int = 32,
        channels: Sequence[int] = (64, 64, 64),
        family: Family | Callable[..., Distribution] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.latent_size = validation.positive_int("latent_size", latent_size)
        self.channels = _checked_channels(channels)
        self.family = as_family(family)
        dtype = self.dtype_policy
        self.blocks = [ResidualBlock(count, dtype=dtype) for count in self.channels]
        self.flatten = keras.layers.Flatten(dtype=dtype)
        self.head = ParameterHead(self.family, self.latent_size, dtype=dtype)

    def get_build_config(self) -> None:
        """Returns None: the weights are created when the model that owns the encoder calls it."""
        return None

    def call(self, x: Nest, training: bool = False) -> Nest:
        features = tf.cast(x, self.compute_dtype)
        for block in self.blocks:
            features = block(features, training=training)
        return self.head(self.flatten(features))

    def get_config(self) -> Config:
        own = {"latent_size": self.latent_size, "channels": self.channels}
        own["family"] = keras.saving.serialize_keras_object(self.family)
        return {**super().get_config(), **own}


def _checked_channels(channels):
    if not isinstance(channels, (list, tuple)) or not channels:
        raise ValueError(f"channels: expected one number per block, got {channels!r}.")
    return tuple(validation.positive_int("channels", count) for count in channels)
