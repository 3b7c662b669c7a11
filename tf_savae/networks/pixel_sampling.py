"""Sample images from a Gated PixelCNN pixel by pixel, computing each feature once.

A vertical feature depends only on rows above, and a horizontal feature on pixels to its left. Each
layer caches the last k // 2 rows or columns in a shift register (Ramachandran et al. 2017,
https://arxiv.org/abs/1704.06001).
"""

from typing import Any

import tensorflow as tf

from tf_savae.core.function_cache import FunctionCache
from tf_savae.core.typing import Seed, TensorLike
from tf_savae.networks.gated_conv import gate
from tf_savae.samplers.decoding import checked_temperature, tempered
from tf_savae.samplers.per_row import row_seeds, row_uniforms

__all__ = ["pixel_noise", "sample_pixels"]


def pixel_noise(seed: Seed, rows: TensorLike, shape: tuple[int, int]) -> tf.Tensor:
    """Returns uniform numbers in [0, 1), float64 [B, H, W]; row i depends only on its own seed.

    Args:
      seed: int or stateless seed [2], from which the seed of each row is derived; or int32 [B, 2].
      rows: B.
      shape: (H, W).

    >>> few, many = pixel_noise(7, 1, (2, 2)), pixel_noise(7, 3, (2, 2))
    >>> bool(tf.reduce_all(few[0] == many[0]))
    True
    """
    height, width = shape
    return tf.reshape(row_uniforms(row_seeds(seed, rows), height * width), [-1, height, width])


def sample_pixels(
    decoder: Any, z: TensorLike, seed: Seed, temperature: TensorLike = 1.0
) -> tf.Tensor:
    """Samples images, float32 [B, H, W, 1], from a `PixelCNNDecoder`; see its `sample`."""
    temperature = checked_temperature(temperature)
    z = tf.convert_to_tensor(z)
    if z.shape.rank != 2 or z.shape[1] != decoder.latent_size:
        raise ValueError(
            f"z: expected [B, {decoder.latent_size}], one row per image; got shape "
            f"{z.shape.as_list()}."
        )
    if not decoder.logit.built:  # Weights must be created outside of any graph.
        with tf.init_scope():
            decoder(tf.zeros([1, *decoder.image_shape, 1]), tf.zeros([1, decoder.latent_size]))
    own = row_seeds(seed, tf.shape(z)[0])
    if tf.inside_function():
        return _draw(decoder, z, own, temperature)
    return _compiled(decoder, z.dtype)(z, own, tf.cast(temperature, tf.float64))


def _compiled(decoder, dtype):
    """Returns the sampling function as a tf.function, created once per decoder.

    Running 784 steps eagerly is slow. The temperature is a tensor argument, so that a new value
    does not retrace the function.
    """
    specs = [
        tf.TensorSpec([None, decoder.latent_size], dtype),
        tf.TensorSpec([None, 2], tf.int32),
        tf.TensorSpec([], tf.float64),
    ]
    return decoder.__dict__.setdefault("_draws", FunctionCache()).get(
        dtype,
        lambda z, own, temperature: _draw(decoder, z, own, temperature),
        input_signature=specs,
    )


def _draw(decoder, z, row_seed, temperature):
    rows, (height, width) = tf.shape(z)[0], decoder.image_shape
    noise = pixel_noise(row_seed, rows, (height, width))
    shares = [
        tf.broadcast_to(part, [rows, height, width, 2 * decoder.channels])
        for part in decoder.conditioned(decoder.latent_share(), z)
    ]

    def body(row, registers, drawn):
        above, left = (tf.gather(part, [row], axis=1) for part in shares)
        registers, lefts = _next_row(decoder, registers, above, left)
        pixels = _draw_row(decoder, lefts, tf.gather(noise, row, axis=1), temperature)
        fresh = tf.cast(pixels, decoder.compute_dtype)[:, None, :, None]
        registers = [_shifted(registers[0], fresh, axis=1), *registers[1:]]
        return row + 1, registers, drawn.write(row, pixels)

    registers = _registers(decoder, lambda reach: [rows, reach, width])
    drawn = tf.TensorArray(tf.float32, height, element_shape=[None, width])
    *_, drawn = tf.while_loop(
        lambda row, *_: row < height,
        body,
        (tf.constant(0), registers, drawn),
        maximum_iterations=height,
    )
    return tf.transpose(drawn.stack(), [1, 0, 2])[..., None]


def _registers(decoder, shape):
    """Returns one zero register per layer for the earlier inputs of its convolution."""
    return [
        tf.zeros(
            [*shape(layer.reach), 1 if layer.first else decoder.channels], decoder.compute_dtype
        )
        for layer in decoder.stack
    ]


def _shifted(register, fresh, axis):
    """Returns the register with `fresh` appended and the oldest entry removed."""
    window = tf.concat([register, fresh], axis=axis)
    return window[:, 1:] if axis == 1 else window[:, :, 1:]


def _next_row(decoder, registers, above, left):
    """Advances the vertical stack by one row.

    Args:
      registers: for each layer, the previous k // 2 rows of its input: [B, k // 2, W, *].
      above, left: the part of the first layer's pre-activations of this row that does not depend on
        pixels, [B, 1, W, 2C].

    Returns:
      The registers including this row (without its pixels in the first one), and for each layer the
      part of its horizontal pre-activations that does not depend on this row, [B, 1, W, 2C].
    """
    first, *others = decoder.stack
    seen = first.vertical_window(registers[0])
    lefts, registers = [left + first.link(seen)], list(registers)
    above += seen
    for index, layer in enumerate(others, start=1):
        features = gate(above)
        above = layer.vertical_window(tf.concat([registers[index], features], axis=1))
        registers[index] = _shifted(registers[index], features, axis=1)
        lefts.append(layer.link(above))
    return registers, lefts


def _draw_row(decoder, lefts, noise, temperature):
    """Samples the pixels of one row, float32 [B, W], from left to right."""
    rows, width = tf.shape(noise)[0], noise.shape[1]

    def body(column, registers, drawn):
        shares = [tf.gather(left, [column], axis=2) for left in lefts]
        registers, logits = _next_pixel(decoder, registers, shares)
        bits = _bits(logits[:, 0, 0], tf.gather(noise, column, axis=1), temperature)
        fresh = tf.cast(bits, decoder.compute_dtype)[:, None, None, None]
        registers = [_shifted(registers[0], fresh, axis=2), *registers[1:]]
        return column + 1, registers, drawn.write(column, bits)

    registers = _registers(decoder, lambda reach: [rows, 1, reach])
    drawn = tf.TensorArray(tf.float32, width, element_shape=[None])
    *_, drawn = tf.while_loop(
        lambda column, *_: column < width,
        body,
        (tf.constant(0), registers, drawn),
        maximum_iterations=width,
    )
    return tf.transpose(drawn.stack())


def _bits(logits, noise, temperature):
    """Samples one pixel of each image, float32 [B] of zeros and ones."""

    def draw(scaled):
        return tf.cast(noise < tf.sigmoid(scaled), tf.float32)

    def likelier(logits):
        return tf.cast(logits > 0, tf.float32)

    return tempered(tf.cast(logits, tf.float64), temperature, draw, likelier)


def _next_pixel(decoder, registers, shares):
    """Advances the horizontal stack by one pixel; returns (registers, logits [B, 1, 1])."""
    first, *others = decoder.stack
    left = first.activate(first.horizontal(registers[0]) + shares[0])
    registers = list(registers)
    for index, layer in enumerate(others, start=1):
        window = tf.concat([registers[index], left], axis=2)
        registers[index] = _shifted(registers[index], left, axis=2)
        left = layer.activate(layer.horizontal(window) + shares[index], left)
    return registers, decoder.read_out(left)
