"""Stride-1 convolutions whose gradients, to any order, are forward convolutions where faster.

On the CPU, TensorFlow's gradient with respect to the input is 10 to 20% slower than the equivalent
convolution of the upstream gradient with the rotated kernel. The latter also does not compute the
gradient of the padding, which is not needed. Measurements: docs/performance.md.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.core import private_tensorflow
from tf_savae.core.devices import accelerators

__all__ = ["Convolution", "convolve"]

_Pads = Sequence[tuple[int, int]]  # ((above, below), (left, right))

_NONE = ((0, 0), (0, 0))


class Convolution(keras.layers.Conv2D):
    """A `keras.layers.Conv2D` with stride 1 whose padding is a call argument.

    >>> layer = Convolution(4, (1, 3))
    >>> layer(tf.zeros([2, 5, 5, 1]), pads=((0, 0), (2, 0))).shape.as_list()
    [2, 5, 5, 4]
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs: Any) -> None:
        # With "valid", Keras rejects images that are smaller than the kernel before padding.
        super().__init__(filters, kernel_size, **{"padding": "same", **kwargs})

    def call(self, inputs: tf.Tensor, pads: _Pads = _NONE) -> tf.Tensor:
        outputs = convolve(inputs, tf.convert_to_tensor(self.kernel), pads)
        return tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs


def convolve(x: tf.Tensor, kernel: tf.Tensor, pads: _Pads = _NONE) -> tf.Tensor:
    """Returns the convolution of x, padded with zeros, and `kernel`, with stride 1.

    Args:
      x: [B, H, W, C].
      kernel: [R, S, C, D].
      pads: ((above, below), (left, right)).

    Returns:
      [B, above + H + below - R + 1, left + W + right - S + 1, D]. It is differentiable to any order
      in reverse mode and in forward mode.

    >>> convolve(tf.ones([1, 2, 2, 1]), tf.ones([2, 1, 1, 1]), ((1, 0), (0, 0)))[0, :, 0, 0].numpy()
    array([1., 2.], dtype=float32)
    """
    if not _rotation_is_faster(kernel, pads):
        return _plain(x, kernel, pads)
    return _bilinear(lambda x, kernel: _rotated(x, kernel, pads), x, kernel)


def _rotation_is_faster(kernel, pads):
    """Whether the rotated kernel is faster: in a graph on the CPU, outside XLA.

    Each output must depend on at least one pixel that is not padding.
    """
    graph = tf.inside_function() and not private_tensorflow.in_xla_context(
        tf.compat.v1.get_default_graph()
    )
    fits = all(max(pair) < size for size, pair in zip(kernel.shape, pads, strict=False))
    return graph and fits and kernel.shape[:2].num_elements() > 1 and not accelerators()


def _plain(x, kernel, pads):
    return tf.nn.conv2d(_padded(x, pads), kernel, 1, "VALID")


def _padded(x, pads):
    # A separate operation: with padding inside the convolution its gradients are twice as slow.
    return tf.pad(x, [[0, 0], *pads, [0, 0]]) if any(map(any, pads)) else x


def _rotated(x, kernel, pads):
    back = [(size - 1 - a, size - 1 - b) for size, (a, b) in zip(kernel.shape, pads, strict=False)]

    @tf.custom_gradient
    def run(x, kernel):
        def pull(upstream):
            in_x = convolve(upstream, _rotate(kernel), back)
            return in_x, _kernel_gradient(x, upstream, kernel.shape, pads, back)

        return _plain(x, kernel, pads), pull

    return run(x, kernel)


def _rotate(kernel):
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])


def _kernel_gradient(x, upstream, shape, pads, back):
    """Returns the gradient of <upstream, convolve(x, kernel)> with respect to the kernel.

    It is bilinear in x and upstream.
    """

    @tf.custom_gradient
    def run(x, upstream):
        def pull(bar):
            bar = tf.ensure_shape(bar, shape)  # Loops lose the static shape.
            return convolve(upstream, _rotate(bar), back), convolve(x, bar, pads)

        gradient = tf.raw_ops.Conv2DBackpropFilter(
            input=_padded(x, pads),
            filter_sizes=shape,
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="VALID",
        )
        return gradient, pull

    return _bilinear(run, x, upstream)


def _bilinear(product, left, right):
    """Returns the product of two tensors, with its tangent if any factor has a tangent."""
    left_dot, right_dot = (forward_mode.tangents_of([factor]) for factor in (left, right))
    if left_dot is None and right_dot is None:
        return product(left, right)
    with forward_mode.paused():
        value = product(left, right)
        dots = [] if left_dot is None else [product(left_dot[0], right)]
        dots += [] if right_dot is None else [product(left, right_dot[0])]
    return forward_mode.attach([value], [tf.add_n(dots)])[0]
