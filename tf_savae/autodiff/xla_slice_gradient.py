"""Registers the second derivative of slices under XLA, which TensorFlow lacks.

Inside a compiled function the gradient of `tf.slice` (and therefore of `tf.concat`, `tf.split` and
slicing) is the operation XlaDynamicUpdateSlice, which has no gradient in TensorFlow. A
Hessian-vector product of a decoder that concatenates would raise a LookupError. The operation is
linear, so its gradient is simple.
"""

import contextlib

import tensorflow as tf

from tf_savae.core import private_tensorflow

__all__: list[str] = []


def _gradient(op, upstream):
    """The gradient of `input` with `update` written at `indices`: each part of `upstream`."""
    _, update, indices = op.inputs
    zeros = tf.zeros_like(update)
    outside = private_tensorflow.xla_dynamic_update_slice(upstream, zeros, indices)
    return outside, tf.slice(upstream, indices, tf.shape(update)), None


with contextlib.suppress(KeyError):  # A gradient that TensorFlow registers itself takes precedence.
    tf.RegisterGradient("XlaDynamicUpdateSlice")(_gradient)
