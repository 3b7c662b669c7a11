"""What a Keras user tries first: decode, sample, export, summary, and what call and predict say."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import FEATURES, data, dense_model

import tf_savae
from tf_savae.networks import TextDecoder


@pytest.fixture(scope="module")
def model():
    model = dense_model()
    model.build((None, FEATURES))
    return model


@pytest.fixture(scope="module")
def language_model():
    model = tf_savae.AutoregressiveModel(TextDecoder(9, 3, 4, latent_size=0))
    model(tf.constant([[2, 5, 3]]))
    return model


def test_encode_and_infer_answer_in_one_form(model):
    x = data()
    encoded, refined = model.encode(x), model.infer(x)
    for posterior in (encoded, refined):
        assert isinstance(posterior, tfp.distributions.Distribution)
        assert posterior.mean().shape == (len(x), model.latent_size)
    mean, log_variance = model.encoded_parameters(x)
    np.testing.assert_allclose(encoded.mean(), mean, rtol=1e-6)
    np.testing.assert_allclose(encoded.variance(), np.exp(log_variance), rtol=1e-5)
    np.testing.assert_allclose(refined.mean(), model.refined_parameters(x)[0], rtol=1e-5)
    assert np.abs(refined.mean() - encoded.mean()).max() > 1e-4


def test_sample_is_generate(model, language_model):
    assert np.array_equal(model.sample(3, seed=1), model.generate(3, seed=1))
    assert np.array_equal(model.sample(2, 1, first=1), model.generate(3, seed=1)[1:])
    texts = language_model.sample(2, seed=3, length=4)
    assert np.array_equal(texts, language_model.generate(2, seed=3, length=4))


def test_decode_draws_row_by_row(model):
    z = np.linspace(-1, 1, 5 * model.latent_size).reshape(5, -1)
    x = model.decode(z, seed=2)
    assert x.shape == (5, FEATURES)
    assert np.array_equal(model.decode(z[2:], seed=2, first=2), x[2:])
    assert not np.array_equal(model.decode(z, seed=3), x)
    means = model.decoder.network(tf.constant(z, tf.float32))  # Of a normal likelihood.
    np.testing.assert_allclose(model.decode(z, mean=True), means, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("z", "options", "message"),
    [
        (np.zeros([3]), {}, r"z: expected shape \[B, 2\], got \[3\]"),
        (np.zeros([3, 5]), {}, r"z: expected shape \[B, 2\], got \[3, 5\]"),
        (np.full([1, 2], np.nan), {}, "z: expected finite numbers, got 2 NaN"),
        (np.zeros([3, 2]), {"mean": 1}, "mean: expected True or False, got 1"),
        (np.zeros([3, 2]), {"temperature": 2}, "temperature: .*sample has no such option"),
        (np.zeros([3, 2]), {"mean": True, "top_k": 2}, "top_k: expected no sampling options with"),
    ],
)
def test_what_decode_refuses(model, z, options, message):
    assert model.latent_size == 2
    with pytest.raises(ValueError, match=message):
        model.decode(z, **options)


def test_decode_without_weights_or_mean():
    with pytest.raises(ValueError, match="decode: expected a model with weights"):
        dense_model().decode(np.zeros([1, 2]))
    decoder = TextDecoder(9, 3, 4, latent_size=2)
    model = tf_savae.SemiAmortizedVAE(
        None, decoder, objective="svi", latent_size=2, refinement=tf_savae.SemiAmortizedRefinement()
    )
    model.build((None, 4))
    with pytest.raises(ValueError, match=r"mean: .* distribution\(z\), got TextDecoder\."):
        model.decode(np.zeros([1, 2]), mean=True)


def test_another_format_of_export(model, tmp_path):
    with pytest.raises(ValueError, match="format: expected one of tf_saved_model; got 'onnx'"):
        model.export(tmp_path / "a", format="onnx")
    assert not (tmp_path / "a").exists()


@pytest.mark.e2e
def test_export_is_that_of_the_package(model, tmp_path):
    version = model.export(tmp_path / "a", signatures=["encode"])
    served = tf.saved_model.load(version).signatures["encode"]
    assert version == tmp_path / "a" / "1"
    np.testing.assert_allclose(
        served(x=tf.constant(data()[:2]))["mean"], model.encode(data()[:2]).mean(), rtol=1e-5
    )


def _summary(model):
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=110)
    return "\n".join(lines)


def test_summary_shows_shapes_once_built(model, language_model):
    before = {id(layer): dict(vars(layer)) for layer in (model.decoder, model.refinement)}
    text = _summary(model)
    assert "?" not in text
    decoder = text[text.index("distribution_decoder") :].splitlines()[0]
    assert "(None)" in decoder
    assert text.count("((None, 2), (None, 2))") == 1  # Of the refinement; the encoder gives one.
    after = {id(layer): dict(vars(layer)) for layer in (model.decoder, model.refinement)}
    assert {key: set(names) for key, names in after.items()} == {
        key: set(names) for key, names in before.items()
    }
    assert "?" not in _summary(language_model)
    assert "?" in _summary(dense_model())


@pytest.mark.parametrize(
    "method",
    [
        tf_savae.SemiAmortizedVAE.call,
        tf_savae.SemiAmortizedVAE.predict,
        tf_savae.AutoregressiveModel.call,
    ],
)
def test_first_line_says_what_comes(method):
    first = method.__doc__.splitlines()[0]
    assert "[B, Z]" in first or "[N, Z]" in first or "[B] nats" in first


def test_predict_gives_what_it_says(model):
    codes = model.predict(data(), verbose=0)
    assert isinstance(codes, np.ndarray) and codes.shape == (len(data()), 2)
    assert keras.backend.backend() == "tensorflow"
