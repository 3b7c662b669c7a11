"""Decoders that could be misread: several operations, some without z, functions, penalties."""

import numpy as np
import pytest
import svi_reference
import tensorflow as tf

from tf_savae.autodiff import residuals, scan
from tf_savae.networks import lstm, token_nll
from tf_savae.svi import fastest_hvp, refine

ROWS, TIME, UNITS, WORDS = 3, 4, 3, 6


def _tensors():
    rng = np.random.default_rng(0)
    shapes = {
        "inputs": (TIME, ROWS, 4 * UNITS),
        "first": (UNITS, 4 * UNITS),
        "second": (UNITS, 4 * UNITS),
        "third": (UNITS, 4 * UNITS),
        "kernel": (UNITS, WORDS),
        "other": (UNITS, WORDS),
        "bias": (WORDS,),
        "features": (ROWS, UNITS),
    }
    theta = {name: tf.constant(0.7 * rng.normal(size=shape)) for name, shape in shapes.items()}
    mean = tf.constant(0.7 * rng.normal(size=(ROWS, UNITS)))
    return mean, theta, tf.constant(rng.integers(0, WORDS, [TIME * ROWS]), tf.int32)


MEAN, THETA, TARGETS = _tensors()
ZEROS = tf.zeros([ROWS, UNITS], tf.float64)


def _words(hidden, theta, kernel="kernel"):
    return token_nll(hidden, theta[kernel], theta["bias"], TARGETS[:ROWS])


def _layered(mean, theta, seed):
    """An LSTM over words alone below two that see z."""

    def projected(hidden, name):
        return tf.reshape(tf.reshape(hidden, [-1, UNITS]) @ theta[name], [TIME, ROWS, -1])

    hidden = lstm(theta["inputs"], theta["first"], ZEROS, ZEROS)
    hidden = lstm(projected(hidden + mean, "second"), theta["second"], ZEROS, ZEROS)
    hidden = lstm(projected(hidden, "third"), theta["third"], ZEROS, ZEROS)
    nll = token_nll(tf.reshape(hidden, [-1, UNITS]), theta["kernel"], theta["bias"], TARGETS)
    return tf.reduce_sum(tf.reshape(nll, [TIME, ROWS]), 0) + tf.reduce_sum(mean**2, 1)


def _unigram_first(mean, theta, seed):
    """A softmax without z, and two with it."""
    seen = _words(tf.tanh(theta["features"] + mean), theta)
    again = _words(tf.tanh(theta["features"] * mean), theta, "other")
    return _words(theta["features"], theta) + seen + again


def _stopped_first(mean, theta, seed):
    """A softmax that sees z, but no gradient comes through."""
    stopped = _words(tf.stop_gradient(tf.tanh(mean)), theta)
    seen = _words(tf.tanh(theta["features"] + mean), theta)
    return stopped + seen + _words(tf.tanh(theta["features"] * mean), theta, "other")


def _partly_used(mean, theta, seed):
    """Of the first LSTM nothing is used, of the second the last state, nonlinearly."""
    lstm(theta["inputs"] + tf.tile(mean, [1, 4]), theta["first"], ZEROS, ZEROS)
    hidden = lstm(theta["inputs"] * tf.tile(mean, [1, 4]), theta["second"], mean, ZEROS)
    nll = _words(hidden[-1], theta)
    return nll**2 + tf.sin(nll)


def _gradient(objective, **options):
    @tf.function(autograph=False)
    def run(mean, theta):
        with tf.GradientTape() as tape:
            tape.watch([mean, theta])
            refined = refine(objective, mean, theta, steps=3, step_size=0.1, seed=0, **options)
            loss = tf.reduce_sum(objective(refined, theta, 0))
        return tape.gradient(loss, [mean, theta], unconnected_gradients="zero")

    return run(MEAN, THETA)


@pytest.mark.parametrize("keep", ["states", "all"])
@pytest.mark.parametrize("objective", [_layered, _unigram_first, _stopped_first, _partly_used])
def test_operations_are_matched(objective, keep):
    expected = _gradient(objective, hvp="reverse_over_reverse", keep=None)
    got = _gradient(objective, keep=keep)
    assert svi_reference.relative_error(got, expected) < 1e-12


def _penalised(mean, theta, seed):
    """A gradient penalty: the decoder takes a derivative itself."""
    hidden = tf.tanh(theta["features"] + mean)
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        nll = _words(hidden, theta)
    return nll + tf.reduce_sum(tape.gradient(nll, hidden) ** 2, axis=1)


def _nested(mean, theta, seed):
    @tf.function
    def squashed(mean):
        return tf.tanh(theta["features"] + mean) ** 3

    return _words(squashed(mean), theta)


@pytest.mark.parametrize(
    ("objective", "message"),
    [(_penalised, "third derivative"), (_nested, "the decoder calls a tf.function")],
)
def test_what_forward_mode_cannot_do_is_refused(objective, message):
    """Each was silently wrong; "auto" takes the other product, which is right."""
    with pytest.raises(ValueError, match=message):
        _gradient(objective, hvp="forward_over_reverse", keep=None)
    expected = _gradient(objective, hvp="reverse_over_reverse", keep=None)
    for keep in (None, "auto"):
        got = _gradient(objective, hvp="auto", keep=keep)
        assert svi_reference.relative_error(got, expected) < 1e-12
    assert fastest_hvp(objective, MEAN, THETA, repeats=1) == "reverse_over_reverse"


@tf.custom_gradient
def _shy(tensor):
    """The identity, whose gradient is clipped: not linear in what comes back."""
    return tensor, lambda upstream: tf.clip_by_value(upstream, -0.05, 0.05)


def test_products_that_disagree_are_not_raced():
    def objective(mean, theta, seed):
        return _words(_shy(tf.tanh(theta["features"] + mean)), theta)

    assert fastest_hvp(objective, MEAN, THETA, repeats=1) == "reverse_over_reverse"


def test_operations_inside_a_loop_cannot_keep():
    def objective(mean, theta, seed):
        def cell(state, _):
            state = tf.tanh(state + theta["features"])
            return state, _words(state, theta)

        _, nll = scan(cell, mean, tf.zeros([2, 1], tf.float64))
        return tf.reduce_sum(nll, axis=0)

    with pytest.raises(ValueError, match="outside of tf_savae.svi.scan"):
        _gradient(objective, keep="all")


def test_an_lstm_alone_keeps_at_all():
    def objective(mean, theta, seed):
        hidden = lstm(theta["inputs"], theta["first"], mean, ZEROS)
        return tf.reduce_sum(hidden[-1] ** 2, axis=1)

    with pytest.raises(ValueError, match='or "all", which works with any decoder'):
        _gradient(objective, keep="states")
    expected = _gradient(objective, hvp="reverse_over_reverse", keep=None)
    assert svi_reference.relative_error(_gradient(objective, keep="all"), expected) < 1e-12


def test_an_objective_that_changes_its_mind_is_an_error():
    runs = []

    def objective(mean, theta, seed):
        runs.append(1)
        nll = _words(tf.tanh(theta["features"] + mean), theta)
        return nll + _words(tf.sin(mean), theta) if len(runs) < 3 else nll

    with pytest.raises(RuntimeError, match="did not run in its Hessian-vector product"):
        _gradient(objective, keep="states")
    with pytest.raises(RuntimeError, match="runs in the Hessian-vector product where the step had"):
        with residuals.replaying([{"recurrence": {}}]):
            residuals.replayed("softmax")
