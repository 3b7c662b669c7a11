"""One layer of the Gated PixelCNN (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328).

The receptive fields of two stacks together cover all earlier pixels, without a blind spot:

    vertical    feature (r, c) depends on the rows above r;
    horizontal  feature (r, c) depends on row r left of c, and on the vertical feature (r, c).

The kernels contain only the unmasked taps, which halves the cost: a kernel of size k is
(k // 2 + 1) x k in the vertical stack and 1 x (k // 2 + 1) in the horizontal one. The first layer
also omits the tap at the pixel's own row or column. Padding is outside the convolutions, so that
sampling can pass cached rows and pixels instead.
"""

from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config
from tf_savae.ops.convolution import Convolution

__all__ = ["GatedLayer", "gate"]


def gate(features: tf.Tensor) -> tf.Tensor:
    """Returns tanh of the first C channels times sigmoid of the others: [..., 2C] to [..., C].

    >>> gate(tf.zeros([2, 3, 3, 8])).shape.as_list()
    [2, 3, 3, 4]
    """
    size = features.shape[-1] // 2
    # reshape + unstack, because the gradient of a split is a pad, which XLA rejects in loops.
    halves = tf.reshape(features, tf.concat([tf.shape(features)[:-1], [2, size]], axis=0))
    signal, weight = tf.unstack(halves, axis=-2)
    return tf.tanh(signal) * tf.sigmoid(weight)


@register
class GatedLayer(ChecksSettings, keras.layers.Layer):
    """A gated layer: vertical and horizontal convolution, the link between them, and gates.

    Args:
      channels: C, output channels of both stacks.
      kernel_size: k, odd and at least 3.
      first: whether the inputs are pixels, so that a feature must not depend on its own pixel.

    >>> layer = GatedLayer(4, 3)
    >>> v, h = layer(tf.zeros([2, 5, 5, 4]), tf.zeros([2, 5, 5, 4]))
    >>> v.shape.as_list(), h.shape.as_list()
    ([2, 5, 5, 4], [2, 5, 5, 4])
    """

    def __init__(self, channels: int, kernel_size: int, first: bool = False, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.channels = validation.positive_int("channels", channels)
        self.kernel_size = odd_size("kernel_size", kernel_size)
        self.first = bool(first)
        self.reach = self.kernel_size // 2
        taps = self.reach if first else self.reach + 1
        self.vertical = self._convolution(2 * channels, (taps, self.kernel_size))
        self.horizontal = self._convolution(2 * channels, (1, taps))
        self.link = self._convolution(2 * channels, 1, use_bias=False)
        self.out = self._convolution(channels, 1)

    def _convolution(self, filters, size, **kwargs):
        return Convolution(filters, size, dtype=self.dtype_policy, **kwargs)

    def from_above(self, above: tf.Tensor) -> tf.Tensor:
        """Returns vertical pre-activations [B, H, W, 2C] of whole images [B, H, W, *]."""
        if self.first:  # Shifted down by one row; the last row is not used.
            above = above[:, :-1]
        return self._vertical_below(above, self.reach)

    def vertical_window(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns vertical pre-activations [B, R, W, 2C] of `rows` [B, taps - 1 + R, W, *]."""
        return self._vertical_below(rows, 0)

    def _vertical_below(self, rows, blank):
        """Returns vertical pre-activations of `rows` with `blank` zero rows above the first."""
        return self.vertical(rows, pads=((blank, 0), (self.reach, self.reach)))

    def from_left(self, left: tf.Tensor) -> tf.Tensor:
        """Returns horizontal pre-activations [B, H, W, 2C] of whole images, without the link."""
        if self.first:
            left = left[:, :, :-1]
        return self.horizontal(left, pads=((0, 0), (self.reach, 0)))

    def activate(self, left: tf.Tensor, before: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the horizontal output of pre-activations (with link); `before`: the residual."""
        features = self.out(gate(left))
        return features if before is None else features + before

    def call(self, above: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the outputs of both stacks for whole images."""
        vertical = self.from_above(above)
        horizontal = self.from_left(left) + self.link(vertical)
        return gate(vertical), self.activate(horizontal, None if self.first else left)

    def get_config(self) -> Config:
        names = ("channels", "kernel_size", "first")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def odd_size(name: str, value: int) -> int:
    """Returns `value` if it is an odd integer >= 3, or raises ValueError.

    >>> odd_size("kernel_size", 5)
    5
    """
    size = validation.positive_int(name, value)
    if size < 3 or size % 2 == 0:
        raise ValueError(f"{name}: expected an odd integer >= 3, got {value!r}.")
    return size
