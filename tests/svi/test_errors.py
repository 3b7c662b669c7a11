"""Bad input to refinement: one clear error each, before any long work."""

import re

import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf

from tf_savae.svi import refine

START = tf.zeros([3, 2])
TARGET = tf.ones([2])


def bowl(parameters, theta, seed):
    del seed
    return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)


def call(objective=bowl, initial=START, theta=TARGET, **options):
    return refine(objective, initial, theta, **{"steps": 2, "step_size": 0.1, "seed": 0, **options})


def test_the_call_itself_is_good():
    assert call().shape == [3, 2]


BAD_OPTIONS = [
    (dict(steps=-1), ValueError, "steps: expected an integer >= 0, got -1"),
    (dict(steps=2.5), ValueError, "steps: expected an integer >= 0, got 2.5"),
    (dict(steps=True), ValueError, "steps: expected an integer >= 0, got True"),
    (dict(steps=tf.constant(2)), ValueError, 'a tensor is supported only with adjoint="stop"'),
    (dict(step_size=-0.1), ValueError, "step_size: expected finite numbers >= 0, got -0.1"),
    (dict(step_size=np.float32(-1)), ValueError, "step_size: expected finite numbers >= 0, got"),
    (dict(step_size=np.array([0.1, -1])), ValueError, "step_size: expected finite numbers >= 0"),
    (dict(step_size=float("nan")), ValueError, "step_size: expected finite numbers >= 0, got nan"),
    (dict(step_size=float("inf")), ValueError, "step_size: expected finite numbers >= 0, got inf"),
    (dict(step_size="small"), ValueError, "step_size: expected finite numbers >= 0, got 'small'"),
    (dict(step_size=tf.ones([3])), ValueError, "step_size: shape [3] does not broadcast to"),
    (dict(step_size=tf.ones([5, 3, 2])), ValueError, "step_size: shape [5, 3, 2] does not"),
    (dict(step_size=(0.1, 0.1)), ValueError, "step_size: expected one number, or a nest with"),
    (dict(momentum=1.0), ValueError, "momentum: expected a number in [0, 1), got 1.0"),
    (dict(momentum=-0.5), ValueError, "momentum: expected a number in [0, 1), got -0.5"),
    (dict(clip_norm=0.0), ValueError, "clip_norm: expected a finite number > 0 or None, got 0.0"),
    (dict(clip_norm=-5), ValueError, "clip_norm: expected a finite number > 0 or None, got -5"),
    (dict(adjoint_clip_norm=0), ValueError, "adjoint_clip_norm: expected a finite number > 0"),
    (dict(samples=0), ValueError, "samples: expected an integer >= 1, got 0"),
    (dict(adjoint="exactly"), ValueError, "adjoint: expected one of exact, unrolled, truncated,"),
    (dict(hvp="forward"), ValueError, "forward_over_reverse, reverse_over_reverse"),
    (dict(truncate=1), ValueError, "truncate: requires adjoint=\"truncated\", got adjoint='exact'"),
    (dict(adjoint="truncated"), ValueError, "truncate: expected an integer >= 0, got None"),
    (dict(adjoint="truncated", truncate=3), ValueError, "at most steps=2, got 3"),
    (dict(adjoint="truncated", truncate=-1), ValueError, "truncate: expected an integer >= 0"),
    (
        dict(early_stopping=0.1),
        ValueError,
        'early_stopping: expected adjoint="stop", since early stopping is for inference',
    ),
    (dict(adjoint="stop", early_stopping=-1), ValueError, "early_stopping: expected a finite"),
    (dict(seed=None), ValueError, "seed: expected an int or an int tensor of shape [2], got None"),
    (dict(seed=[1, 2, 3]), ValueError, "seed: expected shape [] or [2], got shape [3]"),
    (dict(seed=1.5), TypeError, "seed: expected an integer dtype, got float32"),
    (dict(seed=2**40), ValueError, "seed: expected 32-bit integers"),
    (dict(backward_probe=tf.zeros([3])), ValueError, "backward_probe: expected shape [B, 3], got"),
    (dict(backward_probe=tf.zeros([3, 2])), ValueError, "backward_probe: expected shape [B, 3]"),
]


@pytest.mark.parametrize(
    ("options", "error", "message"), BAD_OPTIONS, ids=[str(list(o)) for o, *_ in BAD_OPTIONS]
)
def test_options(options, error, message):
    def never(parameters, theta, seed):
        raise AssertionError("the objective was evaluated before the check")

    with pytest.raises(error, match=re.escape(message)):
        call(never, **options)


BAD_STARTS = [
    (tf.zeros([3, 2], tf.int32), TypeError, "initial: leaf 0 has dtype int32; expected float32"),
    (tf.zeros([3, 2], tf.bfloat16), TypeError, "initial: leaf 0 has dtype bfloat16; expected"),
    (tf.zeros([3, 2], tf.float16), TypeError, "initial: leaf 0 has dtype float16; expected"),
    (tf.zeros([]), ValueError, "initial: leaf 0 is a scalar; expected batch-first tensors"),
    ((), ValueError, "initial: expected a nest with at least one tensor, got ()"),
    ([tf.zeros([3, 2]), tf.zeros([4, 2])], ValueError, "initial: expected leaves with one batch"),
    ([tf.zeros([3]), tf.zeros([3], tf.float64)], TypeError, "initial: expected leaves of one"),
]


@pytest.mark.parametrize(
    ("initial", "error", "message"), BAD_STARTS, ids=[m[9:40] for *_, m in BAD_STARTS]
)
def test_initial(initial, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(initial=initial)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("adjoint", ["exact", "unrolled", "stop"])
def test_an_objective_with_a_time_axis(adjoint, mode):
    """[B, T] where [B] is expected, the easiest mistake in a sequence model."""

    def by_time(parameters, theta, seed):
        return (parameters - theta) ** 2

    message = "one number per example, shape [B]; got shape [3, 2]. Sum over time steps"
    with pytest.raises(ValueError, match=re.escape(message)):
        svi_reference.in_mode(lambda: call(by_time, adjoint=adjoint), mode)()


def test_an_objective_summed_over_the_batch():
    with pytest.raises(ValueError, match=re.escape("shape [B]; got shape []")):
        call(lambda p, t, s: tf.reduce_sum(p))


def test_an_objective_of_another_batch_size():
    with pytest.raises(ValueError, match="each of the 3 examples, got 2"):
        call(lambda p, t, s: tf.reduce_sum(p, axis=0))


def test_an_objective_of_integers():
    with pytest.raises(TypeError, match="negative_elbo: expected a floating dtype, got int32"):
        call(lambda p, t, s: tf.zeros([3], tf.int32))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("adjoint", ["exact", "truncated"])
def test_a_variable_that_is_not_in_theta(adjoint, mode):
    """Its gradient through the refinement would be lost without a word."""
    weight = tf.Variable(2.0)

    def hidden(parameters, theta, seed):
        return bowl(weight * parameters, theta, seed)

    options = dict(adjoint=adjoint, truncate=1 if adjoint == "truncated" else None)
    with pytest.raises(ValueError, match="pure function of.*tf.Variable outside theta"):
        svi_reference.in_mode(lambda: call(hidden, **options), mode)()


def test_a_constant_variable_may_be_read():
    """Statistics and counters need no gradient."""
    offset = tf.Variable([1.0, 2.0], trainable=False)
    refined = call(lambda p, t, s: bowl(p, offset, s), steps=60)
    assert refined.numpy() == pytest.approx(np.tile([1.0, 2.0], (3, 1)), rel=1e-3)


def test_a_variable_is_no_matter_where_no_custom_gradient_stands():
    weight = tf.Variable(2.0)

    def hidden(parameters, theta, seed):
        return bowl(weight * parameters, theta, seed)

    assert call(hidden, adjoint="stop").shape == [3, 2]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(call(hidden, adjoint="unrolled"))
    assert tape.gradient(total, weight) is not None


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_forward_mode_through_a_foreign_loop(mode):
    with pytest.raises(
        ValueError, match='"forward_over_reverse" does not support a while loop.*svi.scan'
    ):
        svi_reference.refined_gradient(
            svi_models.keras_lstm(), mode, steps=2, hvp="forward_over_reverse"
        )


def test_auto_takes_the_product_that_can_be_traced():
    settings = dict(steps=2, momentum=0.5)
    expected, _ = svi_reference.plain_gradient("keras_lstm", **settings)
    got = svi_reference.refined_gradient(svi_models.keras_lstm(), "graph", hvp="auto", **settings)
    svi_reference.assert_close(got, expected, 1e-9)
