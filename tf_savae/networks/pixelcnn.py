"""`PixelCNNDecoder`: p(x | z) of binary images, pixel by pixel (Kim et al. 2018, section 4.3)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Nest, Seed, TensorLike
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.gated_conv import GatedLayer, gate, odd_size
from tf_savae.networks.pixel_sampling import sample_pixels
from tf_savae.networks.sample_axis import merge, repeat_rows, unmerge

__all__ = ["PixelCNNDecoder"]

_KERNELS = (9, 9, 9, 7, 7, 7, 5, 5, 5, 3, 3, 3)


class Prepared(NamedTuple):
    """Quantities that depend on x and the weights, but not on z."""

    pixels: Any  # [B, H, W, 1], 0 or 1; None without x
    above: Any  # [B, H, W, 2C], the first layer's vertical pre-activations
    left: Any  # [B, H, W, 2C], its horizontal pre-activations, link included
    latent: Any  # [Z, H W 4C], the linear contribution of z to both; None without z


@register
class PixelCNNDecoder(ChecksSettings, Decoder):
    """A Gated PixelCNN with Bernoulli pixels; z enters the first layer as extra feature maps.

    A linear layer maps z to `latent_maps` feature maps [H, W], additional channels of the first
    layer's input. Their k x k kernel is not masked, since a pixel may depend on all of z. This path
    and the first convolution of x are linear: `prepare` computes both once for all refinement
    steps, and a step starts with one product of z [B, Z] and a matrix [Z, H W 4C].

    Args:
      image_shape: (H, W).
      latent_size: Z; 0 gives a Gated PixelCNN without z, where z is None or [B, 0].
      channels: C.
      kernel_sizes: odd sizes of at least 3, one per layer.
      latent_maps: number of feature maps of z.

    >>> decoder = PixelCNNDecoder((6, 5), latent_size=2, channels=4, kernel_sizes=(5, 3))
    >>> decoder(tf.ones([3, 6, 5, 1]), tf.zeros([3, 2])).shape.as_list()
    [3]
    >>> decoder.sample(tf.zeros([3, 2]), seed=0).shape.as_list()
    [3, 6, 5, 1]
    """

    # `sample` accepts one seed per row, so that rows can be sampled in a batch.
    seeds_by_row = True
    data_range = (0, 1)

    def __init__(
        self,
        image_shape: Sequence[int] = (28, 28),
        latent_size: int = 32,
        channels: int = 32,
        kernel_sizes: Sequence[int] = _KERNELS,
        latent_maps: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = _checked_shape(image_shape)
        self.latent_size = validation.non_negative_int("latent_size", latent_size)
        self.channels = validation.positive_int("channels", channels)
        self.kernel_sizes = _checked_kernels(kernel_sizes)
        self.latent_maps = validation.positive_int("latent_maps", latent_maps)
        dtype = self.dtype_policy
        self.stack = [
            GatedLayer(self.channels, size, first=index == 0, dtype=dtype)
            for index, size in enumerate(self.kernel_sizes)
        ]
        self.hidden = keras.layers.Conv2D(self.channels, 1, dtype=dtype)
        self.logit = keras.layers.Conv2D(1, 1, dtype=dtype)
        if self.latent_size:
            self.from_maps = keras.layers.Conv2D(
                4 * self.channels, self.kernel_sizes[0], padding="same", use_bias=False, dtype=dtype
            )

    def build(self, *shapes: Any) -> None:
        if self.latent_size:
            maps = self.image_shape[0] * self.image_shape[1] * self.latent_maps
            # Feature maps with unit variance at initialisation: with smaller ones the model
            # ignores z.
            self.to_maps = self.add_weight((self.latent_size, maps), "lecun_normal", name="to_maps")
            self.map_bias = self.add_weight((1, maps), "zeros", name="map_bias")
        self.built = True

    def prepare(self, x: Nest, seed: Seed | None = None, training: bool = False) -> Prepared:
        """Returns the first layer's convolution of x, and the linear map of z, as `Prepared`."""
        del seed, training
        pixels = tf.cast(self._image(x), self.compute_dtype)
        first, rest = self.stack[0], self.latent_share()
        above = first.from_above(pixels)
        left = first.from_left(pixels) + first.link(above)
        return Prepared(pixels, rest.above + above, rest.left + left, rest.latent)

    def latent_share(self) -> Prepared:
        """Returns `Prepared` without an image: the contribution of z and of z = 0 (the biases)."""
        if not self.latent_size:
            nothing = tf.zeros([1, *self.image_shape, 2 * self.channels], self.compute_dtype)
            return Prepared(None, nothing, nothing, None)
        if not self.built:
            self.build()
        rows = tf.concat([tf.convert_to_tensor(w) for w in (self.to_maps, self.map_bias)], axis=0)
        maps = tf.reshape(rows, [-1, *self.image_shape, self.latent_maps])
        above, left = self._halves(self.from_maps(tf.cast(maps, self.compute_dtype)))
        left += self.stack[0].link(above)
        # split, because the gradient of a slice is a full array with zeros outside the slice.
        sizes = [self.latent_size, 1]
        (above, constant_above), (left, constant_left) = (
            tf.split(part, sizes) for part in (above, left)
        )
        latent = tf.reshape(tf.stack([above, left], axis=1), [self.latent_size, -1])
        return Prepared(None, constant_above, constant_left, latent)

    def _halves(self, features):
        shape = [-1, *self.image_shape, 2, 2 * self.channels]
        return tf.unstack(tf.reshape(features, shape), axis=3)

    def _image(self, x):
        x = tf.convert_to_tensor(x)
        wanted = [*self.image_shape, 1]
        if x.shape.rank != 4 or not x.shape[1:].is_compatible_with(wanted):
            raise ValueError(
                f"x: expected images of zeros and ones [B, {', '.join(map(str, wanted))}], got "
                f"shape {x.shape.as_list()}."
            )
        return x

    def logits(self, x: Nest, z: tf.Tensor | None) -> tf.Tensor:
        """Returns each pixel's logit given the earlier pixels, [B, H, W], at least float32.

        Args:
          x: images of zeros and ones [B, H, W, 1].
          z: [B, Z]; None without latent variables.
        """
        return self._logits(self.prepare(x), z)

    def _logits(self, prepared, z):
        above, left = self.conditioned(prepared, z)
        left = self.stack[0].activate(left)
        for layer in self.stack[1:]:
            above = layer.from_above(gate(above))
            left = layer.activate(layer.from_left(left) + layer.link(above), left)
        return self.read_out(left)

    def conditioned(self, prepared: Prepared, z: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first layer's vertical and horizontal pre-activations, including z."""
        if not self.latent_size:
            return prepared.above, prepared.left
        shift = tf.matmul(tf.cast(z, self.compute_dtype), prepared.latent)
        shape = [-1, 2, *self.image_shape, 2 * self.channels]
        above, left = tf.unstack(tf.reshape(shift, shape), axis=1)
        return prepared.above + above, prepared.left + left

    def read_out(self, features: tf.Tensor) -> tf.Tensor:
        """Maps horizontal features [B, R, W, C] to logits [B, R, W], at least float32."""
        logits = self.logit(tf.nn.relu(self.hidden(tf.nn.relu(features))))[..., 0]
        return tf.cast(logits, tf.float32) if logits.dtype.size < 4 else logits

    def log_prob_prepared(
        self,
        prepared: Prepared,
        z: tf.Tensor | None,
        seed: Seed | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        return _log_prob(self._logits(prepared, z), prepared.pixels)

    def log_prob_samples(
        self,
        prepared: Prepared,
        z: tf.Tensor,
        seeds: Sequence[tf.Tensor],
        training: bool = False,
    ) -> tf.Tensor:
        """As `Decoder.log_prob_samples`; all S B images are evaluated in one call."""
        if not self.latent_size:
            return super().log_prob_samples(prepared, z, seeds, training)
        pixels, above, left = (repeat_rows(t, len(seeds)) for t in prepared[:3])
        repeated = Prepared(pixels, above, left, prepared.latent)
        return unmerge(self.log_prob_prepared(repeated, merge(z)), len(seeds))

    def log_prob(
        self, x: Nest, z: tf.Tensor | None, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z), [B] nats: x [B, H, W, 1] of zeros and ones, z [B, Z]."""
        return self.log_prob_prepared(self.prepare(x), z)

    def sample(
        self, z: tf.Tensor, seed: Seed | None = None, temperature: TensorLike = 1.0
    ) -> tf.Tensor:
        """Samples images of zeros and ones, float32 [B, H, W, 1], one per row of z.

        The H W pixels are sampled sequentially. Features of earlier rows and pixels are cached, so
        that all steps together cost about the arithmetic of one `log_prob`; without the cache it is
        H W times as much. Small steps are less efficient: on one CPU core, 16 images took the time
        of 5 `log_prob` at the paper's size, and of 25 with 8 channels and 3 layers.

        Args:
          z: [B, Z]; [B, 0] without latent variables.
          seed: int or stateless seed [2], from which the seeds of rows are derived; or [B, 2], one
            seed per row. The noise of a row depends neither on B nor on the device.
          temperature: divisor of the logits, a number or a scalar tensor; 0 takes the more probable
            value of each pixel.
        """
        return sample_pixels(self, z, 0 if seed is None else seed, temperature)

    def get_config(self) -> Config:
        names = ("image_shape", "latent_size", "channels", "kernel_sizes", "latent_maps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _log_prob(logits, pixels):
    """Returns log p(x | z), [B] nats, for logits [B, H, W] and pixels [B, H, W, 1]."""
    labels = tf.cast(pixels[..., 0], logits.dtype)
    nats = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return -tf.reduce_sum(nats, axis=[1, 2])


def _checked_shape(shape):
    if not isinstance(shape, (list, tuple)) or len(shape) != 2:
        raise ValueError(f"image_shape: expected (height, width), got {shape!r}.")
    return tuple(validation.positive_int("image_shape", size) for size in shape)


def _checked_kernels(sizes):
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise ValueError(f"kernel_sizes: expected one odd size per layer, got {sizes!r}.")
    return tuple(odd_size("kernel_sizes", size) for size in sizes)
