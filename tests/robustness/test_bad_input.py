"""Bad input: one clear error each, at the door."""

import re

import image_models
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import (
    FEATURES,
    LATENT,
    compiled,
    data,
    dense_decoder,
    dense_encoder,
    dense_model,
    text_model,
    tokens,
)

import tf_savae
from tf_savae.models import NonFiniteError
from tf_savae.models.compilation import jit
from tf_savae.models.validation.arrays import check_arrays
from tf_savae.networks import DistributionDecoder, TextDecoder


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return compiled(dense_model("vae"), data())


def _with(value, where=(1, 2)):
    x = data()
    x[where] = value
    return x


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (_with(np.nan), ValueError, "x: expected finite numbers, got 1 NaN or infinite of 24"),
        (_with(np.inf), ValueError, "x: expected finite numbers, got 1 NaN or infinite"),
        (np.float32(3.0) * np.ones([]), ValueError, r"x: expected arrays \[B, ...\]"),
        (np.zeros([0, 6], "float32"), ValueError, "x: expected at least one example"),
        (np.array([["a", "b"]]), TypeError, "x: expected numbers, got dtype"),
    ],
)
def test_bad_arrays(model, x, error, message):
    with pytest.raises(error, match=message):
        model.fit(x, verbose=0)
    with pytest.raises(error, match=message):
        model.evaluate(x, verbose=0)
    with pytest.raises(error, match=message):
        model.predict(x, verbose=0)


def test_targets_are_refused(model):
    x = data()
    with pytest.raises(ValueError, match="y: expected x alone"):
        model.fit(x, x)
    with pytest.raises(ValueError, match="y: expected x alone"):
        model.fit(tf.data.Dataset.from_tensors((x, x)), verbose=0)


def test_validation_data_are_checked_before_the_first_epoch(model):
    wrong = np.full([2, 6], np.nan, np.float32)
    before = model.get_weights()
    with pytest.raises(ValueError, match="expected finite numbers"):
        model.fit(data(), validation_data=(wrong,), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_bad_sample_weights(model):
    with pytest.raises(ValueError, match="sample_weight: expected finite numbers"):
        model.fit(data(), sample_weight=np.array([1.0, np.nan, 1.0, 1.0]), verbose=0)
    batch = (tf.constant(data()), None, tf.ones([4, 2]))
    with pytest.raises(ValueError, match=r"sample_weight: expected one weight per example"):
        model.train_step(batch)


def test_nan_in_weights():
    model = compiled(dense_model("vae"), data())
    model.decoder.trainable_variables[0].assign_add([[np.nan] * 5] * 2)
    with pytest.raises(ValueError, match="weights .*kernel: expected finite numbers, got 10 NaN"):
        model.fit(data(), verbose=0)


def test_a_loss_that_becomes_nan():
    x = data()
    optimizer = keras.optimizers.SGD(1e30)
    model = compiled(dense_model("vae"), x, optimizer=optimizer)
    with pytest.raises(NonFiniteError, match="got NaN or infinity. Check for NaN"):
        model.fit(x, epochs=5, verbose=0)


@pytest.mark.parametrize("name", ["loss", "metrics"])
def test_losses_and_metrics_are_the_models_own(name):
    with pytest.raises(ValueError, match=f"{name}: SemiAmortizedVAE has its own"):
        dense_model().compile("adam", **{name: "mse" if name == "loss" else ["mse"]})


def test_jit_compile_values():
    with pytest.raises(ValueError, match='jit_compile: expected True, False or "auto"'):
        dense_model().compile("adam", jit_compile="yes")
    with pytest.raises(ValueError, match="expected False with run_eagerly=True"):
        dense_model().compile("adam", jit_compile=True, run_eagerly=True)


class _NoXla(keras.layers.Dense):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.supports_jit = False


def test_xla_asked_for_and_impossible():
    decoder = DistributionDecoder(_NoXla(6), "normal")
    with pytest.raises(ValueError, match="since XLA cannot compile _NoXla"):
        dense_model(decoder=decoder).compile("adam", jit_compile=True)
    model = dense_model(decoder=decoder)
    model.compile("adam")
    assert model.jit_compile is False


def test_cudnn_lstm_under_a_second_derivative(monkeypatch):
    monkeypatch.setattr(jit, "gpus", lambda: ["GPU:0"])
    layers = [keras.layers.RepeatVector(2), keras.layers.LSTM(3), keras.layers.Dense(6)]
    decoder = DistributionDecoder(keras.Sequential(layers), "normal")
    for make in (
        lambda: dense_model(decoder=decoder).compile("adam", jit_compile=False),
        lambda: tf_savae.SemiAmortizedRefinement(decoder=decoder),
    ):
        with pytest.raises(ValueError, match="may use the cuDNN kernel.*expected use_cudnn=False"):
            make()
    dense_model("vae", decoder=decoder).compile("adam", jit_compile=False)
    dense_model("vae_svi", decoder=decoder).compile("adam", jit_compile=False)


class _PerStep(tf_savae.Decoder):
    def log_prob(self, x, z, seed=None, training=False):
        return -((x[:, :2] - z) ** 2)


def test_decoder_with_one_number_per_time_step():
    model = dense_model(decoder=_PerStep())
    model.compile("adam", jit_compile=False)
    with pytest.raises(ValueError, match=r"expected one number per example, shape \[B\]; got"):
        model.fit(data(), verbose=0)


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (5, {}, r"expected the encoder's output to have shape \[B, 4\] for latent size 2"),
        (4, {"latent_size": None}, "An encoder with one output tensor needs latent_size=Z"),
    ],
)
def test_encoder_with_another_shape(outputs, options, message):
    model = dense_model(encoder=dense_encoder(outputs), model=options)
    with pytest.raises(ValueError, match=message):
        model(data())


def test_encoder_whose_parameters_disagree():
    x = keras.Input([6])
    encoder = keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(1)(x)])
    with pytest.raises(ValueError, match=r"expected parameters of DiagonalGaussian with shapes"):
        dense_model(encoder=encoder)(data())


@pytest.mark.parametrize(
    ("outputs", "x", "rows"),
    [
        (1, [4], "1"),  # Would be every example's likelihood under every code.
        (1, [4, FEATURES], "1"),  # One output would count for all features.
        (FEATURES, [4], "6"),
        (FEATURES, [1, FEATURES], "6"),
        (FEATURES, [4, FEATURES, 1], "6"),
    ],
)
def test_data_of_another_shape_than_the_likelihood(outputs, x, rows):
    decoder = DistributionDecoder(keras.layers.Dense(outputs), "normal")
    expected = rf"x: expected shape \[4, {rows}\], .* got {re.escape(str(x))}. Give the network"
    with pytest.raises(ValueError, match=expected):
        decoder(tf.zeros(x), tf.zeros([4, LATENT]))


@pytest.mark.parametrize(
    ("likelihood", "x"),
    [
        (lambda mean: tfp.distributions.Normal(mean[:, 0], 1.0), [4]),
        (lambda mean: tfp.distributions.MultivariateNormalDiag(mean), [4, 3]),
        (lambda logits: tfp.distributions.Categorical(logits=logits), [4]),
        (lambda logits: tfp.distributions.OneHotCategorical(logits=logits), [4, 3]),
    ],
)
def test_data_of_the_likelihood_s_own_shape(likelihood, x):
    """Batch and event together; sizes that a graph does not know pass."""
    decoder = DistributionDecoder(keras.layers.Dense(3), likelihood)
    z = tf.zeros([4, LATENT])
    assert decoder(tf.zeros(x), z).shape == (4,)
    with pytest.raises(ValueError, match="x: expected shape"):
        decoder(tf.zeros([*x, 2]), z)
    unknown = tf.TensorSpec([None, *x[1:]]), tf.TensorSpec([None, LATENT])
    assert tf.function(decoder.log_prob, input_signature=unknown)(tf.zeros(x), z).shape == (4,)


def test_a_likelihood_of_ones_own_may_mean_that_of_features():
    """Draws that share a mean, and flows, which do not tell their batch shape."""
    normal = tfp.distributions.Normal
    shared = DistributionDecoder(
        keras.layers.Dense(3),
        lambda mean: tfp.distributions.Independent(normal(mean[:, None, :], 1.0), 1),
    )
    z = tf.random.normal([4, LATENT])
    means = shared.network(z)[:, None, :]
    x = tf.random.normal([4, 5, 3])
    expected = tf.reduce_sum(normal(means, 1.0).log_prob(x), axis=[1, 2])
    np.testing.assert_allclose(shared(x, z), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="x: expected shape"):
        shared(x[:1], z)

    def flow(mean):
        def shift_and_log_scale(half, units, **kwargs):
            return mean[:, :units], tf.zeros_like(half)

        return tfp.distributions.TransformedDistribution(
            tfp.distributions.MultivariateNormalDiag(tf.zeros(4)),
            tfp.bijectors.RealNVP(2, shift_and_log_scale_fn=shift_and_log_scale),
        )

    assert DistributionDecoder(keras.layers.Dense(2), flow)(tf.zeros([4, 4]), z).shape == (4,)


def test_parts_of_wrong_kind():
    with pytest.raises(ValueError, match="decoder: expected a tf_savae.networks.Decoder"):
        dense_model(decoder=keras.layers.Dense(6))
    with pytest.raises(ValueError, match="encoder: expected a Keras layer or model"):
        tf_savae.SemiAmortizedVAE(lambda x: x, dense_decoder())
    with pytest.raises(ValueError, match='latent_size .needed for objective="svi".'):
        dense_model("svi", model={"latent_size": None})
    with pytest.raises(ValueError, match="refinement: expected a tf_savae.SemiAmortizedRefine"):
        tf_savae.SemiAmortizedVAE(dense_encoder(), dense_decoder(), refinement=3)
    with pytest.raises(ValueError, match="free_bits: expected a finite number >= 0"):
        dense_model(model={"free_bits": -1.0})
    with pytest.raises(ValueError, match="beta: expected a finite number >= 0"):
        dense_model(model={"beta": -1.0})


def test_token_ids_out_of_range():
    model = text_model("vae")
    model.compile("adam", jit_compile=False)
    x = tokens()
    x[0, 1] = 20
    baseline = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    for call in (
        lambda: model.fit(x, verbose=0),
        lambda: model.infer(x),
        lambda: model.predict(x, verbose=0),
        lambda: baseline.predict(x, verbose=0),
        lambda: baseline.log_likelihood(x),
        lambda: baseline.log_likelihood(x.tolist()),
        lambda: baseline.log_likelihood(list(x)),
    ):
        with pytest.raises(ValueError, match="expected token ids from 0 to 19 .*got 20"):
            call()
    with pytest.raises(ValueError, match=r"expected integer token ids \[B, T\], got dtype float"):
        model.fit(tokens().astype("float32"), verbose=0)
    with pytest.raises(ValueError, match=r"expected integer token ids \[B, T\]"):
        model.fit(tokens()[0], verbose=0)


def _doors(model, x):
    """Everything that takes an array of data."""
    return (
        lambda: model.fit(x, verbose=0),
        lambda: model.fit(np.zeros_like(x), validation_data=(x,), verbose=0),
        lambda: model.evaluate(x, verbose=0),
        lambda: model.predict(x, verbose=0),
        lambda: model.infer(x),
        lambda: model.negative_elbo(x),
        lambda: model.log_likelihood(x),
        lambda: model.reconstruct(x),
    )


@pytest.mark.parametrize("kind", ["dense", "image"])
def test_binary_likelihoods_are_of_numbers_from_0_to_1(kind):
    """Else the bound has no bound: the likelihood of 255 grows with the logit."""
    if kind == "dense":
        model, x = dense_model("vae", decoder=dense_decoder("bernoulli")), data() > 0
    else:
        model, x = image_models.model("vae"), image_models.images(4) > 0
    model.compile("adam", jit_compile=False)
    for wrong, said in ((255 * x.astype("uint8"), "255"), (-1.0 * x.astype("float32"), "-1.0")):
        for door in _doors(model, wrong):
            with pytest.raises(ValueError, match=f"x: expected numbers from 0 to 1, .* got {said}"):
                door()
    model.fit(0.5 * x.astype("float32"), verbose=0)  # Probabilities may be data.
    assert np.isfinite(model.negative_elbo(x.astype("float32"))).all()


def test_the_range_is_that_of_data_of_one_array():
    """What else is in a dict may be a label, which the likelihood is not of."""
    check_arrays({"image": np.ones([2, 3]), "label": np.array([0, 7])}, data_range=(0, 1))
    with pytest.raises(ValueError, match="x: expected numbers from 0 to 1, .* got 7"):
        check_arrays([np.array([0, 7])], data_range=(0, 1))


def test_no_steps_to_learn_from():
    with pytest.raises(ValueError, match="refinement: expected steps >= 1 with objective"):
        dense_model("vae_svi_kl", steps=0)


@pytest.mark.parametrize("steps", [-1, 1.5])
def test_bad_steps_at_inference(model, steps):
    with pytest.raises(ValueError, match="steps: expected an integer >= 0"):
        model.infer(data(), steps=steps)


def test_bad_sizes_at_inference(model):
    with pytest.raises(ValueError, match="samples: expected an integer >= 1"):
        model.log_likelihood(data(), samples=0)
    with pytest.raises(ValueError, match="samples: expected an integer >= 1"):
        model.infer(data(), samples=0)
    with pytest.raises(ValueError, match="n: expected an integer >= 1"):
        model.generate(0)
