"""Convolutions whose gradients are forward convolutions, against TensorFlow's own derivatives."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.core import devices
from tf_savae.ops.convolution import Convolution, convolve

SHAPES = {  # kernel, padding
    "vertical": ((3, 5), ((2, 0), (2, 2))),
    "horizontal": ((1, 3), ((0, 0), (2, 0))),
    "unpadded": ((2, 3), ((0, 0), (0, 0))),
    "pointwise": ((1, 1), ((0, 0), (0, 0))),
    "more padding than kernel": ((2, 3), ((2, 0), (0, 3))),
}


def plain(x, kernel, pads):
    return tf.nn.conv2d(tf.pad(x, [[0, 0], *pads, [0, 0]]), kernel, 1, "VALID")


def numbers(shape, seed):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def case(name):
    """x [2, 6, 7, 3], a kernel to 4 channels, and weights of the outputs, float64."""
    size, pads = SHAPES[name]
    x, kernel = numbers([2, 6, 7, 3], 0), numbers([*size, 3, 4], 1)
    return x, kernel, numbers(plain(x, kernel, pads).shape, 2), pads


def derivatives(product, x, kernel, weights, pads):
    """Of sum(w tanh(y)): value, gradients, and the gradients of their inner product with ones."""
    with tf.GradientTape() as outer:
        outer.watch([x, kernel])
        with tf.GradientTape() as inner:
            inner.watch([x, kernel])
            value = tf.reduce_sum(weights * tf.tanh(product(x, kernel, pads)))
        gradients = inner.gradient(value, [x, kernel])
        slope = tf.add_n([tf.reduce_sum(tf.sin(g)) for g in gradients])
    return [value, *gradients, *outer.gradient(slope, [x, kernel])]


def graph(function, **options):
    return tf.function(function, autograph=False, **options)


def assert_close(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-10)


def operations(function, *arguments):
    traced = graph(function).get_concrete_function(*arguments)
    return {operation.type for operation in traced.graph.get_operations()}


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("name", SHAPES)
def test_value_and_derivatives_are_tensorflows(name, mode):
    x, kernel, weights, pads = case(name)
    run = functools.partial(derivatives, pads=pads)
    wanted = run(plain, x, kernel, weights)
    if mode != "eager":
        run = graph(run, jit_compile=mode == "XLA")
    assert_close(run(convolve, x, kernel, weights), wanted)


@pytest.mark.parametrize("name", ["vertical", "horizontal", "unpadded"])
def test_the_gradient_in_the_input_is_a_forward_convolution(name):
    x, kernel, weights, pads = case(name)
    turned = operations(functools.partial(derivatives, convolve, pads=pads), x, kernel, weights)
    assert "Conv2D" in turned and "Conv2DBackpropInput" not in turned
    own = operations(functools.partial(derivatives, plain, pads=pads), x, kernel, weights)
    assert "Conv2DBackpropInput" in own


def test_programs_for_accelerators_are_tensorflows():
    x, kernel, weights, pads = case("vertical")
    with devices.elsewhere():
        made = operations(functools.partial(derivatives, convolve, pads=pads), x, kernel, weights)
    assert "Conv2DBackpropInput" in made


@pytest.mark.parametrize("moving", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("compiled", [False, True])
def test_tangents_of_either_factor(moving, compiled):
    """In forward mode: <w, dy> is the inner product of the direction with the gradient."""
    x, kernel, weights, pads = case("vertical")
    factors = [x, kernel]
    directions = [numbers(factors[i].shape, 5 + i) for i in moving]

    def slope(x, kernel, *directions):
        sources = [(x, kernel)[i] for i in moving]
        with forward_mode.accumulate(sources, directions) as forward:
            value = convolve(x, kernel, pads)
        return tf.reduce_sum(weights * forward.jvp(value))

    with tf.GradientTape() as tape:
        tape.watch(factors)
        value = tf.reduce_sum(weights * plain(x, kernel, pads))
    gradients = tape.gradient(value, factors)
    expected = sum(
        float(tf.reduce_sum(gradients[i] * d)) for i, d in zip(moving, directions, strict=True)
    )
    got = graph(slope, jit_compile=compiled)(x, kernel, *directions)
    assert float(got) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_a_tangent():
    """Reverse over forward, as Hessian-vector products take it."""
    x, kernel, weights, pads = case("vertical")
    direction = numbers(x.shape, 5)

    def product(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            with forward_mode.accumulate([x], [direction]) as forward:
                total = tf.reduce_sum(weights * tf.tanh(convolve(x, kernel, pads)))
            slope = forward.jvp(total)
        return tape.gradient(slope, [x, kernel])

    def expected(x, kernel):
        with tf.GradientTape() as outer:
            outer.watch([x, kernel])
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(weights * tf.tanh(plain(x, kernel, pads)))
            slope = tf.reduce_sum(inner.gradient(total, x) * direction)
        return outer.gradient(slope, [x, kernel])

    assert_close(graph(product)(x, kernel), expected(x, kernel))


def test_the_rows_of_a_batch_may_be_unknown():
    x, kernel, weights, pads = case("vertical")
    run = graph(
        lambda x: derivatives(convolve, x, kernel, weights[:1], pads),
        input_signature=[tf.TensorSpec([None, 6, 7, 3], tf.float64)],
    )
    for rows in (1, 2):
        wanted = derivatives(plain, x[:rows], kernel, weights[:1], pads)
        assert_close(run(x[:rows]), wanted)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_layer_is_kerass_convolution_with_padding(policy):
    x = tf.cast(numbers([2, 6, 7, 3], 0), tf.float32)
    layer = Convolution(4, (1, 3), dtype=policy)
    own = keras.layers.Conv2D(4, (1, 3), dtype=policy)
    padded = tf.pad(x, [[0, 0], [0, 0], [2, 0], [0, 0]])
    own(padded)
    got = layer(x, pads=((0, 0), (2, 0)))
    layer.set_weights([numbers(w.shape, 3) for w in layer.weights])
    own.set_weights(layer.get_weights())
    got = layer(x, pads=((0, 0), (2, 0)))
    assert got.dtype == own(padded).dtype
    np.testing.assert_allclose(
        tf.cast(got, tf.float32), tf.cast(own(padded), tf.float32), rtol=2e-2, atol=1e-5
    )
