"""A setting that is changed on a model in use takes effect at the next call, or raises."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_decoder, dense_model, text_model, tokens

import tf_savae
from tf_savae import AutoregressiveModel, SemiAmortizedRefinement, linear_kl_weight
from tf_savae.models.compilation import trace_cache
from tf_savae.networks import Decoder, DistributionDecoder, TextDecoder
from tf_savae.svi import hvp


def _answers(model, x):
    """What training, evaluation and inference give of the weights as they are: numbers."""
    logs = model.fit(x, batch_size=len(x), shuffle=False, verbose=0).history
    tested = model.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)
    model.optimizer.iterations.assign(0)  # The noise of the next step depends on it.
    codes = model.infer(x, steps=2).mean().numpy().ravel() if model.inference_steps else 0.0
    return {
        **{n: v[0] for n, v in logs.items()},
        **{f"val_{n}": v for n, v in tested.items()},
    }, codes


def _at_rest(model, x):
    """Compiled so that training changes no weight."""
    return compiled(model, x, optimizer=keras.optimizers.SGD(0.0))


# Each value alone changes numbers, so that one without effect would be seen among the others.
SETTINGS = {
    "weights": ("vae", {"beta": 0.3, "free_bits": 3.0, "seed": 5}, {}),
    "schedule": ("vae", {"beta": linear_kl_weight(10, start=0.5)}, {}),
    "objective": ("savae", {"objective": "vae_svi"}, {}),
    "refinement": (
        "vae_svi",
        {},
        {
            "steps": 1,
            "step_size": [0.2, 0.02],
            "momentum": 0.1,
            "clip_norm": 0.3,
            "samples": 2,
            "fall_back": 2,
        },
    ),
}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_changed_setting_is_as_if_given_at_the_start(name):
    objective, mine, refinement = SETTINGS[name]
    x = data()
    model = _at_rest(dense_model(objective), x)
    before, _ = _answers(model, x)
    for owner, settings in ((model, mine), (model.refinement, refinement)):
        for setting, value in settings.items():
            setattr(owner, setting, value)
    changed, codes = _answers(model, x)
    fresh = _at_rest(dense_model(objective, model=mine, **refinement), x)
    fresh.set_weights(model.get_weights())
    wanted, wanted_codes = _answers(fresh, x)
    assert changed.keys() == wanted.keys()
    np.testing.assert_allclose(
        [changed[n] for n in wanted], list(wanted.values()), rtol=2e-5, atol=1e-6
    )
    np.testing.assert_allclose(codes, wanted_codes, rtol=2e-5, atol=1e-6)
    assert changed != before


def test_what_is_saved_is_what_was_trained(tmp_path):
    """Of the settings in use, and not of those that the model was made with."""
    x = data()
    model = compiled(dense_model("vae"), x)
    model.fit(x, verbose=0)
    model.beta, model.refinement.steps, model.free_bits = 0.25, 1, 2.0
    history = model.fit(x, verbose=0).history
    assert history["beta"] == [0.25]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (again.beta, again.refinement.steps, again.free_bits) == (0.25, 1, 2.0)
    mine, theirs = (m.evaluate(x, verbose=0, return_dict=True) for m in (model, again))
    assert mine == pytest.approx(theirs, rel=1e-5)
    assert mine["beta"] == 0.25


def test_callbacks_change_settings_between_epochs_and_batches():
    x = data(4)
    model = _at_rest(dense_model("vae"), x)
    seen = []

    class Anneal(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            model.beta = 0.25 * (epoch + 1)

        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                model.beta *= 0.5

        def on_train_batch_end(self, batch, logs=None):
            seen.append(round(float(logs["beta"]), 6))  # The mean of the epoch so far.

    model.fit(x, batch_size=2, epochs=2, verbose=0, callbacks=[Anneal()])
    assert seen == [0.25, 0.1875, 0.5, 0.375]


def test_the_product_follows():
    """Of "auto" it is measured, and an assigned one replaces what was measured."""
    x = data()
    model = compiled(dense_model(hvp="auto"), x)
    model.fit(x, verbose=0)
    assert model.hvp != "auto"
    model.refinement.hvp = "finite_difference"
    model.fit(x, verbose=0)
    assert model.hvp == "finite_difference"
    model.refinement.keep, model.refinement.hvp = "states", "auto"
    trace_cache.follow(model)
    assert model.hvp == "forward_over_reverse"


def test_an_assigned_product_is_the_one_that_training_takes():
    x, calls = data(), []
    model = compiled(dense_model(), x)
    model.fit(x, verbose=0)

    def counted(objective, parameters, theta, seed, vector):
        calls.append(seed)
        return hvp.METHODS["reverse_over_reverse"](objective, parameters, theta, seed, vector)

    model.hvp = counted
    model.fit(x, verbose=0)
    assert calls and model.refinement.hvp == "reverse_over_reverse"
    model.refinement.hvp = "forward_over_reverse"
    model.fit(x, verbose=0)
    assert model.hvp == "forward_over_reverse"
    with pytest.raises(ValueError, match="hvp: expected one of .*; got 'exact'"):
        model.hvp = "exact"


class _Scaled(Decoder):
    """-scale |x|^2 / 2, with an attribute that is no constructor argument."""

    scale = 1.0

    def __init__(self):
        super().__init__()
        self.calls = 0

    def build(self, *_):
        self.offset = self.add_weight(shape=(), initializer="zeros", name="offset")
        self.built = True

    def log_prob(self, x, z, seed=None, training=False):
        self.calls += 1
        return -0.5 * self.scale * tf.reduce_sum(x**2, axis=1) - self.offset


def test_attributes_of_a_decoder_of_ones_own():
    """And one that changes at every call does not trace at every call."""
    x = data()
    model = AutoregressiveModel(_Scaled())
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    half = 0.5 * np.mean(np.sum(x**2, axis=1))
    for scale in (1.0, 3.0):
        model.decoder.scale = scale
        assert model.fit(x, verbose=0).history["bound"][0] == pytest.approx(scale * half, rel=1e-5)
        assert model.evaluate(x, verbose=0)[0] == pytest.approx(scale * half, rel=1e-5)
    calls = model.decoder.calls
    model.fit(x, verbose=0)
    model.evaluate(x, verbose=0)
    assert model.decoder.calls == calls


def test_dropout_rates_follow():
    """At rate 0 training and evaluation of one model agree, and at another they do not."""
    x = tokens(4)
    model = AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0, dropout=0.5))
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    exact = -np.mean(model.log_likelihood(x))
    assert abs(model.fit(x, verbose=0).history["nll"][0] - exact) > 1e-4
    model.decoder.dropout = 0.0
    assert model.fit(x, verbose=0).history["nll"][0] == pytest.approx(exact, rel=1e-5)
    layer = keras.layers.Dropout(0.5)
    network = keras.Sequential([keras.layers.Dense(8), layer, keras.layers.Dense(6)])
    model = _at_rest(dense_model("vae", decoder=DistributionDecoder(network, "normal")), data())
    before = model.fit(data(), verbose=0).history["nll"][0]
    layer.rate = 0.0
    assert abs(model.fit(data(), verbose=0).history["nll"][0] - before) > 1e-4


def test_frozen_layers_follow():
    """Frozen after a step, they stay; thawed, they move again, where the optimizer knows them."""
    x = data()
    model = compiled(dense_model("vae"), x, optimizer=keras.optimizers.Adam(0.1))
    model.fit(x, verbose=0)
    model.decoder.trainable = False
    before = [v.numpy() for v in model.decoder.variables + model.encoder.variables]
    model.fit(x, verbose=0)
    after = [v.numpy() for v in model.decoder.variables + model.encoder.variables]
    moved = [not np.array_equal(b, a) for b, a in zip(before, after, strict=True)]
    assert moved == [False] * 4 + [True] * 4
    model.decoder.trainable = True
    model.fit(x, verbose=0)
    assert not np.array_equal(after[0], model.decoder.variables[0])


def test_a_layer_that_was_frozen_when_the_optimizer_was_made():
    x, model = data(), dense_model("vae")
    model.decoder.trainable = False
    compiled(model, x).fit(x, verbose=0)
    model.decoder.trainable = True
    with pytest.raises(ValueError, match="trainable: .*kernel and others was frozen when the opt"):
        model.fit(x, verbose=0)


def test_settings_of_the_optimizer_follow():
    x = data()
    model = compiled(dense_model("vae"), x)
    model.fit(x, verbose=0)
    model.optimizer.global_clipnorm = 1e-6
    before = model.get_weights()
    model.fit(x, verbose=0)
    model.optimizer = keras.optimizers.SGD(0.0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder", keras.layers.Dense(4)),
        ("decoder", dense_decoder()),
        ("refinement", SemiAmortizedRefinement()),
        ("family", tf_savae.FullCovarianceGaussian()),
        ("prior", tf_savae.networks.StandardNormalPrior(3)),
        ("latent_size", 3),
    ],
)
def test_parts_are_fixed(name, value):
    model = dense_model()
    with pytest.raises(
        ValueError, match=f"{name}: cannot be changed after the SemiAmortizedVAE is created"
    ):
        setattr(model, name, value)
    setattr(model, name, getattr(model, name))


def test_arguments_that_weights_follow_from_are_fixed():
    model = text_model()
    with pytest.raises(
        ValueError, match="units: cannot be changed after the TextDecoder is created, got 9"
    ):
        model.decoder.units = 9
    with pytest.raises(
        ValueError, match="latent_size: cannot be changed after the StandardNormalPrior is created"
    ):
        model.prior.latent_size = 3
    with pytest.raises(
        ValueError, match="likelihood: cannot be changed after the DistributionDecoder is created"
    ):
        dense_decoder().likelihood = "bernoulli"
    with pytest.raises(
        ValueError, match="learn_step_size: cannot be changed after the SemiAmortizedRefinement"
    ):
        model.refinement.learn_step_size = True


@pytest.mark.parametrize(
    ("owner", "name", "value", "message"),
    [
        ("model", "beta", -1.0, r"beta: expected a finite number >= 0, got -1.0"),
        ("model", "free_bits", "a", r"free_bits: expected a finite number >= 0, got 'a'"),
        ("model", "objective", "elbo", r"objective: expected one of .*; got 'elbo'"),
        ("model", "seed", None, r"seed: expected an int"),
        ("refinement", "steps", -1, r"steps: expected an integer >= 0, got -1"),
        ("refinement", "momentum", 1.0, r"momentum: expected a number in \[0, 1\), got 1.0"),
        ("refinement", "adjoint", "none", r"adjoint: expected one of .*; got 'none'"),
        ("refinement", "keep", "some", r"keep: expected one of None, auto, .*; got 'some'"),
    ],
)
def test_a_bad_value_is_refused_when_it_is_assigned(owner, name, value, message):
    model = dense_model()
    owner = model if owner == "model" else model.refinement
    before = getattr(owner, name)
    with pytest.raises(ValueError, match=message):
        setattr(owner, name, value)
    assert getattr(owner, name) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adjoint": "truncated"}, "truncate: expected an integer >= 0, got None"),
        ({"adjoint": "truncated", "truncate": 9}, "truncate: expected at most steps=3, got 9"),
        ({"adjoint": "stop"}, 'refinement: adjoint="stop" lets no gradient reach'),
        ({"keep": "states"}, 'keep: requires adjoint "exact" or "truncated" with hvp'),
        ({"adjoint": "unrolled", "adjoint_clip_norm": 1.0}, "adjoint_clip_norm: "),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, message, tmp_path):
    x = data()
    model = compiled(dense_model(), x)
    for name, value in changes.items():
        setattr(model.refinement, name, value)
    for use in (
        lambda: model.fit(x, verbose=0),
        lambda: model.infer(x),
        lambda: model.save(tmp_path / "model.keras"),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_an_objective_without_an_encoder_is_another_model():
    model = compiled(dense_model(), data())
    model.objective = "svi"
    with pytest.raises(ValueError, match="'svi' trains no encoder, and the model has one. Create"):
        model.fit(data(), verbose=0)


def test_metrics_follow_the_settings():
    x = data()
    model = compiled(dense_model("vae"), x)
    assert "refinement_gain" not in model.fit(x, verbose=0).history
    model.objective = "savae"
    history = model.fit(x, verbose=0).history
    assert {"refinement_gain", "curvature", "amortized_bound"} <= set(history)
    assert history["refinement_gain"][0] != 0.0
    model.refinement.steps = 0
    assert "refinement_gain" not in model.fit(x, verbose=0).history


def test_a_layer_in_another_model_refuses_what_that_model_would_not_see():
    inputs = keras.Input([6])
    parameters = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
    decoder = dense_decoder()
    layer = SemiAmortizedRefinement(steps=2, decoder=decoder)
    model = keras.Model(inputs, layer(parameters, inputs)[0])
    layer.steps = 1
    model.compile("sgd", "mse")
    model.fit(data(), np.zeros([4, 2], "float32"), verbose=0)
    with pytest.raises(
        ValueError,
        match="steps: cannot be changed once this layer is part of a compiled step .*; got 5",
    ):
        layer.steps = 5
    assert layer.steps == 1


def test_learned_step_sizes_are_weights():
    model = compiled(dense_model(learn_step_size=True), data())
    with pytest.raises(
        ValueError, match="step_size: is learned as the weight log_step_size; got 0.3"
    ):
        model.refinement.step_size = 0.3
