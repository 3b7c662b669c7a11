"""What steps keep for their Hessian-vector products changes cost and memory, never a number."""

import functools

import keras
import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf
from executed_products import executed_products

import tf_savae
from tf_savae.autodiff import forward_mode, residuals
from tf_savae.networks import OracleDecoder, OracleEncoder, token_nll
from tf_savae.ops import layout, time_loop, token_softmax
from tf_savae.svi import refine
from tf_savae.tasks.oracle import systems
from tf_savae.tasks.oracle.config import OracleConfig
from tf_savae.tasks.text.config import TextConfig
from tf_savae.training import build

LEVELS = ["states", "all"]
CLIP = 1.6


def _gradient(mode, keep, **options):
    model = svi_models.fused_text()
    return svi_reference.refined_gradient(model, mode, clip_norm=CLIP, keep=keep, **options)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("keep", LEVELS)
@pytest.mark.parametrize("short", [0, 8], ids=["loop", "written_out"])
@pytest.mark.parametrize("least", [0, 2**22], ids=["features_first", "examples_first"])
def test_the_derivative_is_that_of_a_plain_loop(least, short, keep, mode, monkeypatch):
    monkeypatch.setattr(time_loop, "_SHORT", short)
    monkeypatch.setattr(layout, "_LEAST", least)
    monkeypatch.setattr(layout, "_ROWS", range(1, 49))
    options = dict(steps=5, momentum=0.5)
    expected, norms = svi_reference.plain_gradient("fused_text", clip_norm=CLIP, **options)
    assert (norms > CLIP).any() and (norms < CLIP).any()
    svi_reference.assert_close(_gradient(mode, keep, **options), expected, 1e-9)


@pytest.mark.parametrize(
    "options",
    [dict(steps=4, adjoint="truncated", truncate=2), dict(steps=2, samples=2, hvp="auto")],
    ids=str,
)
def test_every_option_gives_what_it_gives_without_keeping(options):
    expected = _gradient("graph", None, **options)
    svi_reference.assert_close(_gradient("graph", "all", **options), expected, 1e-12)


@pytest.mark.parametrize("keep", LEVELS)
def test_rows_and_steps_of_unknown_number(keep):
    """One trace for batches of any size and sentences of any length."""
    rng = np.random.default_rng(0)
    kernel, bias = tf.constant(rng.normal(size=(3, 6))), tf.constant(rng.normal(size=6))

    def objective(mean, theta, seed):
        features, targets = theta["features"], theta["targets"]
        hidden = tf.tanh(features + mean[None])
        flat = tf.reshape(hidden, [-1, 3]), theta["kernel"], bias, tf.reshape(targets, [-1])
        nll = tf.reshape(token_nll(*flat), tf.shape(targets))
        return tf.reduce_sum(nll, axis=0) + tf.reduce_sum(mean**2, axis=1)

    def gradient(keep, mean, features, targets):
        theta = {"features": features, "targets": targets, "kernel": kernel}
        with tf.GradientTape() as tape:
            tape.watch([mean, kernel])
            refined = refine(objective, mean, theta, steps=3, step_size=0.1, seed=0, keep=keep)
            loss = tf.reduce_sum(objective(refined, theta, 0))
        return tape.gradient(loss, [mean, kernel])

    specs = [
        tf.TensorSpec([None, 3], tf.float64),
        tf.TensorSpec([None, None, 3], tf.float64),
        tf.TensorSpec([None, None], tf.int32),
    ]
    traced = tf.function(functools.partial(gradient, keep), input_signature=specs)
    for rows, length in ((2, 4), (5, 3)):
        inputs = (
            tf.constant(rng.normal(size=(rows, 3))),
            tf.constant(rng.normal(size=(length, rows, 3))),
            tf.constant(rng.integers(0, 6, (length, rows)), tf.int32),
        )
        error = svi_reference.relative_error(traced(*inputs), gradient(None, *inputs))
        assert error < 1e-12


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("keep", LEVELS)
def test_softmax_in_pieces(keep, tokens, jit_compile, monkeypatch):
    monkeypatch.setattr(token_softmax, "_KEPT", 1)
    rng = np.random.default_rng(1)
    shapes = [(3, 4), (3, 4), (4, 5), (5,)]
    hidden, moved, kernel, bias = [tf.constant(rng.normal(size=s)) for s in shapes]
    targets = tf.constant([0, 4, 2])

    def product(keep, nll):
        def total(hidden):
            return tf.reduce_sum(nll(hidden, kernel, bias, targets))

        with residuals.recording(keep) as kept:
            with tf.GradientTape() as tape:
                tape.watch(hidden)
                value = total(hidden)
            tape.gradient(value, hidden)
        sources = [hidden, moved, kernel, bias]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            with residuals.replaying(kept.entries()):
                with forward_mode.accumulate([hidden], [moved]) as forward:
                    value = total(hidden)
            slope = forward.jvp(value)
        return tape.gradient(slope, sources)

    pieces = functools.partial(token_nll, chunk_size=tokens * 5)
    got = tf.function(functools.partial(product, keep, pieces), jit_compile=jit_compile)()
    assert svi_reference.relative_error(got, product(None, token_nll)) < 1e-12


@pytest.mark.parametrize(("keep", "products"), [(None, 8), ("states", 7), ("all", 6)])
def test_products_a_step_costs(keep, products):
    """With the softmax alone: 2 matrix products forward, and 6, 5 or 4 backward."""
    rng = np.random.default_rng(0)
    kernel, bias = tf.constant(rng.normal(size=(4, 6))), tf.zeros([6], tf.float64)
    targets, features = tf.constant([1, 5, 0]), tf.constant(rng.normal(size=(3, 4)))

    def objective(mean, theta, seed):
        hidden = tf.tanh(theta["features"] + mean)
        return token_nll(hidden, theta["kernel"], theta["bias"], targets)

    def counts(steps):
        @tf.function(autograph=False)
        def gradient(mean, theta):
            with tf.GradientTape() as tape:
                tape.watch([mean, theta])
                options = dict(steps=steps, step_size=0.1, seed=0, keep=keep)
                refined = tf.reduce_sum(refine(objective, mean, theta, **options))
            return tape.gradient(refined, [mean, theta])

        theta = {"features": features, "kernel": kernel, "bias": bias}
        return sum(executed_products(gradient, tf.zeros([3, 4], tf.float64), theta).values())

    assert counts(5) - counts(2) == 3 * products


def _trained(keep):
    keras.utils.set_random_seed(0)
    refinement = tf_savae.SemiAmortizedRefinement(steps=3, step_size=0.05, keep=keep)
    sizes = (12, 6, 2)
    model = tf_savae.SemiAmortizedVAE(
        OracleEncoder(*sizes), OracleDecoder(*sizes), refinement=refinement, latent_size=2
    )
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    x = np.random.default_rng(0).integers(0, 12, (8, 5)).astype("int32")
    model.fit(x, batch_size=4, epochs=2, verbose=0, shuffle=False)
    return model, x


def test_a_model_trains_to_the_same_weights():
    plain, _ = _trained(None)
    model, x = _trained("all")
    for got, wanted in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=1e-6)
    assert np.isfinite(model.negative_elbo(x, seed=1)).all()


def test_a_layer_remembers_what_it_keeps():
    layer = tf_savae.SemiAmortizedRefinement(steps=3, step_size=0.1, keep="all")
    assert layer.hvp == "forward_over_reverse"
    copy = tf_savae.SemiAmortizedRefinement.from_config(layer.get_config())
    assert (copy.keep, copy.hvp) == ("all", "forward_over_reverse")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(keep="everything"), "keep: expected one of None, auto, states, all"),
        (dict(keep="all", adjoint="unrolled"), 'keep: requires adjoint "exact"'),
        (dict(keep="all", adjoint="stop"), 'keep: requires adjoint "exact"'),
        (dict(keep="states", hvp="reverse_over_reverse"), 'keep: requires adjoint "exact"'),
        (dict(keep="states"), "expected a decoder with operations that store residuals"),
    ],
    ids=str,
)
def test_errors(options, message):
    model = svi_models.dense()
    with pytest.raises(ValueError, match=message):
        options |= dict(steps=2, step_size=0.1, seed=0)
        refine(model.objective, model.initial, model.theta, **options)


def test_an_error_leaves_nothing_behind():
    with pytest.raises(RuntimeError):
        with residuals.recording("all"), residuals.replaying([{"softmax": {}}]):
            raise RuntimeError
    assert residuals.slot("softmax") is None and residuals.replayed("softmax") == {}
    assert token_nll(tf.zeros([1, 2]), tf.zeros([2, 3]), tf.zeros([3]), [0]).shape == [1]


FLAGS = {"auto": "auto", "none": None, "states": "states", "all": "all"}


@pytest.mark.parametrize(("flag", "keep"), FLAGS.items())
def test_trainers_pass_it_on(flag, keep):
    text = build._refinement(TextConfig(keep=flag), 3)
    oracle = systems._refinement(OracleConfig(keep=flag), "oracle", "savae", seed=0)
    assert (text.keep, oracle.keep) == (keep, keep)
