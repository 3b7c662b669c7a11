"""`generate` and `reconstruct`: options reach the decoder, and a row's noise is its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, text_model, tokens

import tf_savae
from tf_savae import generation
from tf_savae.core.devices import accelerators
from tf_savae.networks import Decoder, DistributionDecoder, TextDecoder


def _text(jit_compile=False, **kwargs):
    x = tokens(8)
    return compiled(text_model(**kwargs), x, jit_compile=jit_compile), x


def test_samples_of_any_split_are_one_series():
    model, _ = _text()
    together = model.generate(8, seed=2, length=6).numpy()
    assert len({tuple(row) for row in together}) == 8
    for cut in (1, 3, 5):
        first = model.generate(cut, seed=2, length=6)
        rest = model.generate(8 - cut, seed=2, length=6, first=cut)
        np.testing.assert_array_equal(np.concatenate([first, rest]), together)


def test_samples_without_a_latent_code_are_one_series_too():
    model = tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0))
    with pytest.raises(ValueError, match="generate: expected a model with weights"):
        model.generate(2)
    compiled(model, tokens(4))
    together = model.generate(6, seed=2, length=6).numpy()
    assert len({tuple(row) for row in together}) == 6
    parts = [model.generate(2, seed=2, length=6), model.generate(4, seed=2, length=6, first=2)]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_reconstructions_of_any_split_are_one_series():
    """Refinement's noise, z and the decoder's draws: all by row."""
    model, x = _text()
    together = model.reconstruct(x, seed=3, length=6).numpy()
    for cut in (1, 3, 5):
        first = model.reconstruct(x[:cut], seed=3, length=6)
        rest = model.reconstruct(x[cut:], seed=3, length=6, first=cut)
        np.testing.assert_array_equal(np.concatenate([first, rest]), together)
    other = model.reconstruct(np.concatenate([x[:3], x[:5]]), seed=3, length=6).numpy()
    np.testing.assert_array_equal(other[:3], together[:3])  # Whatever its neighbours are.
    assert np.any(other[3:] != together[:5])  # The same data at other places: other noise.


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_decoder_without_seeds_by_row_is_drawn_row_by_row(jit_compile):
    """Also whole distributions of several kinds inside, and a family with a covariance."""
    model = dense_model(
        model={"family": tf_savae.FullCovarianceGaussian()},
        encoder=keras.Sequential([keras.layers.Dense(5)]),
    )
    x = data(6)
    compiled(model, x, jit_compile=jit_compile)
    draws = {"generate": model.generate(6, seed=2), "reconstruct": model.reconstruct(x, seed=3)}
    assert np.std(draws["generate"], axis=0).min() > 0.1
    np.testing.assert_allclose(model.generate(4, seed=2), draws["generate"][:4], atol=1e-5)
    np.testing.assert_allclose(model.generate(4, seed=2, first=2), draws["generate"][2:], atol=1e-5)
    last = model.reconstruct(x[2:], seed=3, first=2)
    np.testing.assert_allclose(last, draws["reconstruct"][2:], atol=1e-5)


def test_xla_draws_the_same_texts():
    plain, xla = _text()[0], _text(jit_compile=True)[0]
    options = {"seed": 2, "length": 6, "top_k": 9, "top_p": 0.9, "temperature": 1.2}
    np.testing.assert_array_equal(plain.generate(8, **options), xla.generate(8, **options))
    options = {"length": 6, "decoding": "beam", "beam_size": 3}
    np.testing.assert_array_equal(plain.generate(8, **options), xla.generate(8, **options))


def test_auto_leaves_greedy_decoding_on_a_cpu_to_a_plain_graph(monkeypatch):
    """Greedy decoding is faster there, all other decoding under XLA; an explicit choice stands."""
    from tf_savae.models import row_sampling

    asked, made = [], row_sampling._compiled

    def spy(model, key, function, xla=True):
        if key[0] == "decode":
            asked.append(xla)
        return made(model, key, function, xla)

    monkeypatch.setattr(row_sampling, "_compiled", spy)
    drawn = {}
    for jit_compile in ("auto", True):
        model = _text(jit_compile=jit_compile)[0]
        assert model.jit_compile is True
        drawn[jit_compile] = model.generate(4, length=5, decoding="greedy")
        model.generate(4, length=5)
    assert asked == [bool(accelerators()), True, True, True]
    np.testing.assert_array_equal(drawn["auto"], drawn[True])


def test_noise_by_row_changes_no_posterior_on_average():
    """Refined with noise by row or by batch, the means agree over many rows; K=0 needs none."""
    from tf_savae.models.row_sampling import posterior_of_rows

    model, x = dense_model(steps=3), np.repeat(data(1), 400, axis=0)
    compiled(model, x)
    x = tf.constant(x)
    seed = tf.constant([0, 5])
    mean, log_variance = posterior_of_rows(model, x, seed)
    other = model.infer(x, seed=5)
    spread = np.std(mean, axis=0)
    assert spread.min() > 1e-3  # The rows' noise differs.
    np.testing.assert_allclose(spread, np.std(other.mean(), axis=0), rtol=0.25)
    difference = np.mean(mean, axis=0) - np.mean(other.mean(), axis=0)
    assert np.abs(difference / spread).max() < 4 * np.sqrt(2 / 400)
    exact = posterior_of_rows(model, x, seed, steps=0)[0]
    np.testing.assert_allclose(exact, model.infer(x, steps=0).mean(), rtol=1e-6)


def test_the_mean_is_decoded_without_noise():
    model, x = _text()
    options = {"mean": True, "decoding": "greedy", "length": 6, "steps": 0}
    rows = model.reconstruct(x, seed=1, **options)
    np.testing.assert_array_equal(rows, model.reconstruct(x, seed=2, **options))
    z = model.infer(x, steps=0).mean()
    np.testing.assert_array_equal(rows, model.decoder.sample(z, length=6, decoding="greedy"))


@pytest.mark.parametrize("make", [dense_model, text_model])
def test_generating_before_there_are_weights(make):
    with pytest.raises(ValueError, match="generate: expected a model with weights, got one that"):
        make().generate(3)


def test_options_that_the_decoder_does_not_have():
    model = compiled(dense_model(), data())
    with pytest.raises(ValueError, match="temperature: DistributionDecoder.sample has no such opt"):
        model.generate(2, temperature=0.5)
    model, x = _text()
    expected = "top_q: TextDecoder.sample has no such option; expected one of length, temperature"
    with pytest.raises(ValueError, match=expected):
        model.reconstruct(x, top_q=0.5)
    with pytest.raises(ValueError, match="first: expected an integer >= 0, got -1"):
        model.generate(2, first=-1)


class Labelled(DistributionDecoder):
    """Of a conditional model: the mean is that of z, and 10 times the row's label above it."""

    def sample(self, z, seed=None, label=None, shift=0.0):
        mean = self.distribution(z).mean()
        if label is not None:
            mean += 10.0 * tf.cast(label, mean.dtype)[:, None]
        return mean + shift


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_options_of_each_row(by_row, jit_compile):
    """Row i gets entry i, by whichever door, in whatever batch, compiled or not."""
    model = dense_model("vae", decoder=Labelled(keras.layers.Dense(6), "normal"))
    model.decoder.seeds_by_row = by_row
    x = data(5)
    compiled(model, x, jit_compile=jit_compile)
    labels = [0, 1, 2, 0, 1]
    wanted = 10.0 * np.array(labels)[:, None] * np.ones([1, 6])
    for plain, labelled in (
        (model.generate(5, shift=0.0), model.generate(5, label=labels)),
        (model.reconstruct(x, mean=True), model.reconstruct(x, mean=True, label=np.array(labels))),
    ):
        np.testing.assert_allclose(labelled - plain, wanted, atol=1e-4)
    rest = model.generate(2, first=3, label=tf.constant(labels[3:]))
    np.testing.assert_allclose(rest, model.generate(5, label=labels)[3:], atol=1e-5)
    one = model.generate(5, label=[2]) - model.generate(5)
    np.testing.assert_allclose(one, np.full([5, 6], 20.0), atol=1e-4)


def test_options_of_each_row_in_batches():
    decoder = Labelled(keras.layers.Dense(6), "normal")
    model = compiled(dense_model("vae", decoder=decoder), data(5))
    shift = np.arange(5, dtype="float32")
    drawn = generation.sample(model, 5, 2, batch_size=2, shift=shift[:, None])
    np.testing.assert_allclose(drawn.x, model.generate(5, 2) + shift[:, None], atol=1e-5)
    with pytest.raises(ValueError, match=r"label: expected text to write beside .* got \[0, 1\]"):
        generation.sample(model, 2, label=[0, 1])


def test_options_of_each_row_without_a_latent_code():
    class Digits(Decoder):
        def log_prob(self, x, z, seed=None, training=False):
            return -tf.reduce_sum(x, axis=1)

        def sample(self, z, seed=None, label=0):
            return tf.zeros([z.shape[0], 2]) + tf.cast(label, tf.float32)[:, None]

    model = compiled(tf_savae.AutoregressiveModel(Digits()), data())
    np.testing.assert_array_equal(model.generate(3, label=[4, 5, 6])[:, 0], [4.0, 5.0, 6.0])


def test_options_of_another_number_of_rows():
    """Nothing is guessed: neither that they are meant for all rows, nor for the first ones."""
    model = compiled(dense_model("vae", decoder=Labelled(keras.layers.Dense(6), "normal")), data())
    expected = r"label: expected one entry for each of the 6 rows, shape \[6, ...\], or one for all"
    for labels in ([0, 1, 2], np.zeros([5]), tf.zeros([12])):
        with pytest.raises(ValueError, match=expected):
            model.generate(6, label=labels)
    with pytest.raises(ValueError, match="label: expected one entry for each of the 4 rows"):
        model.reconstruct(data(), label=[1, 2, 3])
    with pytest.raises(ValueError, match="temperature: expected a number or a scalar tensor, the"):
        _text()[0].generate(3, temperature=[1.0, 0.5, 2.0])


def test_options_for_all_rows_may_be_arrays():
    """Of one entry, which each row gets."""

    class Shifted(DistributionDecoder):
        seeds_by_row = True

        def sample(self, z, seed=None, shift=0.0):
            return self.distribution(z).mean() + shift

    model = dense_model(decoder=Shifted(keras.layers.Dense(6), "normal"))
    compiled(model, data())
    shift = np.arange(6, dtype="float32")
    rows = model.generate(3, shift=shift[None]) - model.generate(3)
    np.testing.assert_allclose(rows, np.tile(shift, (3, 1)), atol=1e-6)
