"""The LSTM recurrence against an unrolled one and against Keras', to second order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.core import devices
from tf_savae.networks import LSTM, lstm
from tf_savae.networks.layers import last_state
from tf_savae.ops import layout, recurrence, time_loop

UNITS = 3


@pytest.fixture(autouse=True, params=[0, 8], ids=["loop", "written_out"])
def shortest(request, monkeypatch):
    """Loops over time, and what takes their place where there are few steps."""
    monkeypatch.setattr(time_loop, "_SHORT", request.param)


@pytest.fixture(autouse=True, params=[False, True], ids=["examples_first", "features_first"])
def features_first(request, monkeypatch):
    """Both orientations of the loop: features come first for large weights alone."""
    if request.param:
        monkeypatch.setattr(layout, "_LEAST", 0)
        monkeypatch.setattr(layout, "_ROWS", range(1, 9))


def _inputs(steps=4, rows=2):
    rng = np.random.default_rng(0)
    shapes = [(steps, rows, 4 * UNITS), (UNITS, 4 * UNITS), (rows, UNITS), (rows, UNITS)]
    return [tf.constant(rng.normal(size=shape)) for shape in shapes]


def _unrolled(inputs, kernel, hidden, cell):
    """Gates in the order input, forget, new, out, as the documentation says."""
    states = []
    for step in tf.unstack(inputs):
        i, f, g, o = tf.split(step + tf.matmul(hidden, kernel), 4, axis=1)
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
        hidden = tf.sigmoid(o) * tf.tanh(cell)
        states.append(hidden)
    return tf.stack(states)


def _reverse(function, tensors, vector):
    with tf.GradientTape() as outer:
        outer.watch(tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors[0])
            total = tf.reduce_sum(function(*tensors) ** 3)
        slope = tf.reduce_sum(tape.gradient(total, tensors[0]) * vector)
    return outer.gradient(slope, tensors)


def _forward(function, tensors, vector):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        with forward_mode.accumulate([tensors[0]], [vector]) as forward:
            total = tf.reduce_sum(function(*tensors) ** 3)
        slope = forward.jvp(total)
    return tape.gradient(slope, tensors)


@pytest.mark.parametrize("product", [_reverse, _forward])
@pytest.mark.parametrize("length", [4, None])
def test_second_derivatives(product, length):
    """Also where T is unknown when traced."""
    tensors = _inputs()
    vector = tf.constant(np.random.default_rng(1).normal(size=tensors[0].shape))
    wanted = _reverse(_unrolled, tensors, vector)
    np.testing.assert_allclose(lstm(*tensors), _unrolled(*tensors), rtol=1e-12)
    spec = tf.TensorSpec([length, 2, 4 * UNITS], tf.float64)
    rest = [tf.TensorSpec.from_tensor(t) for t in tensors[1:]]

    @tf.function(autograph=False, input_signature=[[spec, *rest], spec])
    def run(tensors, vector):
        return product(lstm, tensors, vector)

    for got, want in zip(run(tensors, vector), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_layer_equals_keras():
    ours = LSTM(UNITS, 5)
    ours.build()
    theirs = keras.layers.LSTM(UNITS, return_sequences=True, unit_forget_bias=False)
    theirs.build([None, None, 5])
    theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32")
    got = tf.transpose(ours(tf.transpose(x, [1, 0, 2])), [1, 0, 2])
    np.testing.assert_allclose(got, theirs(x), rtol=1e-4, atol=1e-5)


def test_projection_of_one_step_and_of_any_length():
    layer = LSTM(UNITS, 5)
    inputs = tf.constant(np.random.default_rng(2).normal(size=(4, 2, 5)), tf.float32)
    layer(inputs)  # Makes the weights.
    kernel, _, bias = layer.get_weights()
    wanted = np.asarray(inputs) @ kernel + bias
    np.testing.assert_allclose(layer.project(inputs), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.project(inputs[2]), wanted[2], rtol=1e-5, atol=1e-6)
    spec = tf.TensorSpec([None, None, 5])
    traced = tf.function(layer.project, input_signature=[spec]).get_concrete_function()
    assert traced.structured_outputs.shape.as_list() == [None, None, 4 * UNITS]
    np.testing.assert_allclose(traced(inputs), wanted, rtol=1e-5, atol=1e-6)


def test_steps_one_by_one_equal_the_loop():
    layer = LSTM(UNITS, 5)
    x = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    whole = layer(x)
    state = (tf.zeros([2, UNITS]), tf.zeros([2, UNITS]))
    for time in range(4):
        state = layer.step(layer.project(x[time]), state)
        np.testing.assert_allclose(state[0], whole[time], rtol=1e-5, atol=1e-6)


def test_last_state_of_rows_of_several_lengths():
    hidden = tf.reshape(tf.range(12.0), [3, 2, 2])
    got = last_state(hidden, tf.constant([3, 0]))
    np.testing.assert_array_equal(got, [[8.0, 9.0], [2.0, 3.0]])


def test_features_come_first_for_few_rows_and_large_weights_on_a_cpu(monkeypatch):
    monkeypatch.setattr(layout, "_LEAST", 2**22)
    monkeypatch.setattr(layout, "_ROWS", range(9, 49))
    large, small = tf.zeros([1024, 4096]), tf.zeros([512, 2048])

    def chosen(rows, kernel):
        return layout.faster(rows, kernel).features_first

    assert all(chosen(rows, large) for rows in (16, 32))
    assert not any(chosen(rows, large) for rows in (None, 1, 64))
    assert not chosen(32, small)
    with devices.elsewhere():
        assert not chosen(32, large)


def test_weights_that_no_derivative_would_reach_are_refused():
    def run(weight):
        def peephole(gates, state):
            return (tf.tanh(gates[0] * weight),)

        return recurrence(peephole, tf.ones([3, 2, 4]), tf.eye(4), (tf.zeros([2, 4]),))

    with pytest.raises(ValueError, match="recurrence: pointwise captures .*, which would"):
        tf.function(run, autograph=False)(tf.ones([4]))


def test_constants_may_come_from_outside():
    def run(inputs):
        half = tf.constant(0.5)
        start = np.zeros([2, 4], np.float32)
        kernel = np.eye(4, dtype=np.float32)
        return recurrence(lambda gates, state: (half * gates[0],), inputs, kernel, (start,))

    found = tf.function(run, autograph=False)(tf.ones([2, 2, 4]))
    np.testing.assert_allclose(found[1], np.full([2, 4], 0.75))
