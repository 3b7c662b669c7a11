"""The fused softmax loss against TensorFlow's own, to second order."""

import numpy as np
import tensorflow as tf

from tf_savae.networks import token_nll
from tf_savae.svi import forward_mode


def _inputs(rows=3, width=4, vocabulary_size=5):
    rng = np.random.default_rng(0)
    shapes = [(rows, width), (width, vocabulary_size), (vocabulary_size,)]
    tensors = [tf.constant(rng.normal(size=shape)) for shape in shapes]
    return tensors, tf.constant([0, 4, 2])


def _plain(hidden, kernel, bias, targets):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.matmul(hidden, kernel) + bias)


def _second(function, tensors, targets, vector):
    """Gradient in all inputs of <d sum f^2 / d hidden, vector>, by reverse over reverse."""
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors[0])
            total = tf.reduce_sum(function(*tensors, targets) ** 2)
        slope = tf.reduce_sum(tape.gradient(total, tensors[0]) * vector)
    return outer.gradient(slope, tensors)


def _forward_then_reverse(function, tensors, targets, vector):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        with forward_mode.accumulate([tensors[0]], [vector]) as forward:
            total = tf.reduce_sum(function(*tensors, targets) ** 2)
        slope = forward.jvp(total)
    return tape.gradient(slope, tensors)


def test_value_and_second_derivatives():
    tensors, targets = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    np.testing.assert_allclose(token_nll(*tensors, targets), _plain(*tensors, targets), rtol=1e-12)
    wanted = _second(_plain, tensors, targets, vector)
    for product in (_second, _forward_then_reverse):
        got = product(token_nll, tensors, targets, vector)
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


def test_half_precision_inputs_give_full_precision_losses():
    tensors, targets = _inputs()
    narrow = [tf.cast(t, tf.bfloat16) for t in tensors]
    nll = token_nll(*narrow, targets)
    assert nll.dtype == tf.float32
    np.testing.assert_allclose(nll, _plain(*tensors, targets), rtol=0.05)
