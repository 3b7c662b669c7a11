"""Adjoints as objects: they compute what their short forms do, own their settings, are saved."""

import dataclasses
import functools
import re

import keras
import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf
from keras_models import compiled, data, dense_decoder, dense_model, step_gradients

from tf_savae import SemiAmortizedRefinement, svi
from tf_savae.models.refinement import programs
from tf_savae.svi import hvp as hvps

REVERSE, FORWARD = "reverse_over_reverse", "forward_over_reverse"


@keras.saving.register_keras_serializable(package="test")
def own_product(*arguments):
    return hvps.reverse_over_reverse(*arguments)


# Object, its short form.
SAME = {
    "default": (svi.Exact(), {}),
    "exact": (svi.Exact(FORWARD), {"hvp": FORWARD}),
    "clipped": (svi.Exact(REVERSE, clip_norm=0.6), {"hvp": REVERSE, "adjoint_clip_norm": 0.6}),
    "truncated": (
        svi.Truncated(2, REVERSE),
        {"adjoint": "truncated", "truncate": 2, "hvp": REVERSE},
    ),
    "straight_through": (svi.Truncated(0), {"adjoint": "truncated", "truncate": 0}),
    "unrolled": (svi.Unrolled(), {"adjoint": "unrolled"}),
    "stop": (svi.Stop(), {"adjoint": "stop"}),
}


def _curved(parameters, theta, seed):
    noise = 0.1 * tf.cast(seed[1] % 7, tf.float64)
    return tf.reduce_sum(tf.math.log(tf.cosh(parameters @ theta + noise)), axis=1)


@pytest.mark.parametrize("mode", ["eager", "xla"])
@pytest.mark.parametrize("name", SAME)
def test_gradients_are_those_of_the_short_form(name, mode):
    adjoint, short = SAME[name]
    rng = np.random.default_rng(0)
    inputs = [tf.constant(rng.normal(size=shape)) for shape in ([2, 3], [3, 3])]

    def gradient(options, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            settings = {"steps": 3, "step_size": 0.3, "seed": 0, **options}
            refined = svi.refine(_curved, *inputs, **settings)
            loss = tf.reduce_sum(_curved(refined, inputs[1], tf.constant([0, 3])))
        return refined, *tape.gradient(loss, inputs, unconnected_gradients="zero")

    got, wanted = (
        svi_reference.in_mode(functools.partial(gradient, options), mode)(*inputs)
        for options in ({"adjoint": adjoint}, short)
    )
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == tf.float64
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert np.abs(got[1]).max() > 0 or name == "stop"


def test_what_steps_keep_is_that_of_the_short_form():
    options = {"steps": 2}, {"adjoint": svi.Exact(residuals="all")}, {"keep": "all"}
    model = svi_models.fused_text()
    got, wanted = (
        svi_reference.refined_gradient(model, "eager", **options[0], **o) for o in options[1:]
    )
    svi_reference.assert_close(got, wanted, 0.0)


def _bowl(parameters, theta, seed):
    return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)


@pytest.mark.parametrize(
    ("adjoint", "factor"),
    [
        (svi.Exact(), 0.5**3),
        (svi.Exact(clip_norm=0.2), 0.2 * 0.5**2),  # The first step back is cut from 1/2 to 1/5.
        (svi.Truncated(2), 0.5**2),
        (svi.Truncated(0), 1.0),
        (svi.Unrolled(), 0.5**3),
    ],
    ids=str,
)
def test_closed_form(adjoint, factor):
    """Steps of 1/2 in a bowl halve the distance, and each step that is crossed the derivative."""
    start = tf.constant([[4.0, 0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        refined = _refine(adjoint=adjoint, initial=start)
    np.testing.assert_array_equal(refined, [[0.5, 0.0]])
    np.testing.assert_allclose(tape.gradient(refined, start), [[factor, factor]], rtol=1e-12)


@pytest.mark.parametrize(
    ("adjoint", "factor"),
    [(svi.Exact(), 1.0), (svi.Truncated(0), 1.0), (svi.Unrolled(), 1.0), (svi.Stop(), None)],
    ids=str,
)
def test_no_steps_are_the_identity(adjoint, factor):
    """K = 0 reaches no loop: the value is the start, and its gradient 1, or none."""
    start = tf.constant([[4.0, 0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        refined, trace = _refine(start, 0, adjoint=adjoint, return_trace="path")
    np.testing.assert_array_equal(refined, start)
    assert trace.negative_elbo.shape == [0, 1] and trace.gradient_norm.shape == [0, 1]
    gradient = tape.gradient(refined, start)
    assert gradient is None if factor is None else gradient.numpy().tolist() == [[factor, factor]]


def test_no_steps_may_stop_early():
    """The ELBO at lambda_0 is known then, as after any other number of steps."""
    start = tf.constant([[4.0, 0.0]], tf.float64)
    options = {"adjoint": svi.Stop(), "early_stopping": 1e-3, "return_trace": True}
    refined, trace = _refine(start, 0, **options)
    np.testing.assert_array_equal(refined, start)
    assert (trace.negative_elbo.numpy().tolist(), trace.steps.numpy().tolist()) == ([[8.0]], [0])


def _refine(initial=None, steps=3, **options):
    initial = tf.ones([1, 2], tf.float64) if initial is None else initial
    settings = {"step_size": 0.5, "momentum": 0.0, "seed": 0, **options}
    return svi.refine(_bowl, initial, tf.zeros([2], tf.float64), steps=steps, **settings)


def test_no_gradient_crosses_stop_and_steps_may_be_a_tensor():
    start = tf.constant([[4.0, 0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        refined = _refine(start, tf.constant(3), adjoint=svi.Stop())
    np.testing.assert_array_equal(refined, [[0.5, 0.0]])
    assert tape.gradient(refined, start) is None
    _, trace = _refine(start, 40, adjoint=svi.Stop(), early_stopping=1e-3, return_trace=True)
    assert trace.steps.numpy().tolist() == [8]  # The eighth gains 6 / 4^7 nats.


CONFLICTS = [
    (
        {"adjoint": svi.Truncated(2), "truncate": 1},
        "truncate: expected None together with adjoint=Truncated(depth=2, hvp='auto', residuals="
        "'auto', clip_norm=None, budget=None), which has its own settings; got 1. Pass "
        "depth=1 to it.",
    ),
    (
        {"adjoint": svi.Exact(FORWARD), "hvp": FORWARD},
        "hvp: expected None together with adjoint=Exact(hvp='forward_over_reverse', residuals="
        "'auto', clip_norm=None, budget=None), which has its own settings; got "
        "'forward_over_reverse'. Pass hvp='forward_over_reverse' to it.",
    ),
    (
        {"adjoint": svi.Exact(), "keep": "all"},
        "keep: expected None together with adjoint=Exact(hvp='auto', residuals='auto', "
        "clip_norm=None, budget=None), which has its own settings; got 'all'. Pass "
        "residuals='all' to it.",
    ),
    (
        {"adjoint": svi.Exact(), "keep": None},
        "keep: expected None together with adjoint=Exact(hvp='auto', residuals='auto', "
        "clip_norm=None, budget=None), which has its own settings; got None. Pass "
        "residuals=None to it.",
    ),
    (
        {"adjoint": svi.Unrolled(), "adjoint_clip_norm": 1.0},
        "adjoint_clip_norm: expected None together with adjoint=Unrolled(), which has its "
        "own settings; got 1.0. It has no such setting.",
    ),
    ({"adjoint": svi.Truncated(9)}, "depth: expected at most steps=3, got 9."),
    ({"adjoint": "truncated", "truncate": 9}, "truncate: expected at most steps=3, got 9."),
    (
        {"adjoint": svi.Stop},
        "adjoint: expected one of exact, unrolled, truncated, stop, or an object such as "
        "svi.Exact(); got <class 'tf_savae.svi.adjoints.Stop'>.",
    ),
]


@pytest.mark.parametrize("call", [_refine, SemiAmortizedRefinement], ids=["refine", "layer"])
@pytest.mark.parametrize(("options", "message"), CONFLICTS, ids=[m[:9] for _, m in CONFLICTS])
def test_an_object_and_a_short_form(options, message, call):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(steps=3, **options)


@pytest.mark.parametrize("options", [{"steps": tf.constant(3)}, {"early_stopping": 0.1}], ids=str)
def test_what_needs_stop(options):
    with pytest.raises(ValueError, match='adjoint="stop"'):
        _refine(adjoint=svi.Exact(), **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: svi.Exact(hvp="fast"), "hvp: expected one of auto, forward_over_reverse, rev"),
        (lambda: svi.Exact(hvp=None), "hvp: expected one of auto, .*; got None"),
        (lambda: svi.Exact(residuals="some"), "residuals: expected one of None, auto, states, a"),
        (lambda: svi.Exact(clip_norm=0), "clip_norm: expected a finite number > 0 or None, got 0"),
        (
            lambda: svi.Truncated(2, REVERSE, "states"),
            'residuals: requires adjoint "exact" or "truncated" with '
            'hvp="forward_over_reverse", or "all" with hvp="reverse_over_reverse"; got '
            "hvp='reverse_over_reverse'. Change these, or use \"auto\".",
        ),
        (
            lambda: svi.Exact("finite_difference", "all"),
            'residuals: requires adjoint "exact" or "truncated" .* got hvp=\'finite_difference\'.',
        ),
        (lambda: svi.Truncated(-1), "depth: expected an integer >= 0, got -1"),
        (lambda: svi.Truncated(True), "depth: expected an integer >= 0, got True"),
    ],
)
def test_settings_are_checked_when_the_object_is_made(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_frozen_and_comparable():
    assert svi.Exact(clip_norm=2) == svi.Exact(clip_norm=np.float32(2.0)) != svi.Exact()
    assert svi.Exact(residuals="all") == svi.Exact(FORWARD, "all")
    assert len({svi.Truncated(2), svi.Truncated(np.int64(2)), svi.Stop(), svi.Stop()}) == 2
    assert svi.Unrolled() != svi.Stop()
    with pytest.raises(dataclasses.FrozenInstanceError):
        svi.Truncated(2).depth = 3


ADJOINTS = [
    svi.Exact(REVERSE, clip_norm=2.0),
    svi.Exact(own_product),
    svi.Truncated(2, residuals="states"),
    svi.Unrolled(),
    svi.Stop(),
]


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=lambda adjoint: type(adjoint).__name__)
def test_objects_and_layers_from_their_configurations(adjoint):
    config = keras.saving.serialize_keras_object(adjoint)
    assert config["registered_name"] == f"tf_savae>{type(adjoint).__name__}"
    assert keras.saving.deserialize_keras_object(config) == adjoint
    layer = SemiAmortizedRefinement(adjoint=adjoint)
    again = SemiAmortizedRefinement.from_config(layer.get_config())
    assert again.adjoint == adjoint == again.current_adjoint()
    assert again.get_config() == layer.get_config()


@pytest.mark.e2e
def test_a_saved_model(tmp_path):
    x = data()
    model = compiled(dense_model(hvp=None, adjoint=svi.Truncated(2, REVERSE)), x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.refinement.adjoint == svi.Truncated(2, REVERSE)
    compiled(loaded, x)
    for got, wanted in zip(step_gradients(loaded, x), step_gradients(model, x), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_configuration_of_before_there_were_objects():
    settings = {"adjoint": "truncated", "hvp": FORWARD, "truncate": 2, "adjoint_clip_norm": 3.0}
    config = {"steps": 4, "step_size": 0.1, "keep": "states", **settings}
    layer = SemiAmortizedRefinement.from_config(config)
    assert layer.current_adjoint() == svi.Truncated(2, FORWARD, "states", 3.0)
    assert layer.get_config().items() >= config.items()


def test_a_layer_shows_the_settings_of_its_object():
    layer = SemiAmortizedRefinement(adjoint=svi.Truncated(2, REVERSE, clip_norm=3.0))
    shown = layer.hvp, layer.keep, layer.truncate, layer.adjoint_clip_norm
    assert shown == (REVERSE, "auto", 2, 3.0)
    message = (
        "truncate: the adjoint Truncated(depth=2, hvp='reverse_over_reverse', residuals="
        "'auto', clip_norm=3.0, budget=None) has its own settings; got 1. Assign another object to "
        "adjoint instead."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer.truncate = 1
    layer.adjoint = svi.Stop()
    assert (layer.hvp, layer.truncate, layer.adjoint_clip_norm) == ("auto", None, None)
    layer.adjoint, layer.hvp = "exact", REVERSE
    assert layer.current_adjoint() == svi.Exact(REVERSE)


def test_a_layer_with_fewer_steps_than_its_depth():
    layer = SemiAmortizedRefinement(steps={0: 1, 10: 3}, adjoint=svi.Truncated(3))
    assert layer._settings([tf.zeros([1, 2])], steps=1)["adjoint"] == svi.Truncated(1)
    layer.steps = 2
    with pytest.raises(ValueError, match="^depth: expected at most steps=2, got 3.$"):
        layer.check_settings()


@pytest.mark.e2e
def test_another_object_on_a_model_in_use():
    """Takes effect at the next step: of Truncated(0) the encoder gets the gradient at lambda_K."""
    x = data()
    model = compiled(dense_model(hvp=None, adjoint=svi.Exact(REVERSE)), x)
    before = step_gradients(model, x)
    fresh = compiled(dense_model(hvp=None, adjoint=svi.Truncated(0, REVERSE)), x)
    model.set_weights(fresh.get_weights())
    model.refinement.adjoint = svi.Truncated(0, REVERSE)
    wanted = step_gradients(fresh, x)
    for got, exact in zip(step_gradients(model, x), wanted, strict=True):
        np.testing.assert_array_equal(got, exact)
    assert not np.allclose(before[0], wanted[0], rtol=1e-2)


def test_models_measure_auto_and_refuse_what_does_not_fit():
    x = data()
    model = compiled(dense_model(hvp=None, adjoint=svi.Exact(residuals=None)), x)
    model.fit(x, verbose=0)
    assert (model.keep, model.hvp in (FORWARD, REVERSE)) == (None, True)
    assert {"adjoint_growth", "curvature"} <= set(model._bound_metrics.trackers)
    model.refinement.adjoint = svi.Stop()
    with pytest.raises(ValueError, match="lets no gradient reach the encoder"):
        model.fit(x, verbose=0)
    unrolled = dense_model(hvp=None, adjoint=svi.Unrolled())
    assert _second_order(unrolled) == (False, True)
    with pytest.raises(ValueError, match="lets no gradient reach the encoder"):
        dense_model(hvp=None, adjoint=svi.Stop())
    first_only = dense_model(hvp=None, adjoint=svi.Exact("finite_difference"))
    assert _second_order(first_only) == (True, False)


def _second_order(model):
    parts = model.objective, model.refinement
    return programs.uses_products(*parts), programs.differentiates_twice(*parts)


def test_a_layer_outside_of_our_models():
    adjoint = svi.Exact(residuals=None)
    layer = SemiAmortizedRefinement(2, 0.1, adjoint=adjoint, decoder=dense_decoder())
    refined = layer([tf.zeros([4, 2]), tf.zeros([4, 2])], tf.constant(data()), training=True)
    assert layer._programs[1]["hvp"] in (FORWARD, REVERSE) and refined[0].shape == [4, 2]
