"""`.keras` files, weights files, configurations and resumed training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import compiled, data, dense_encoder, dense_model, text_model, tokens

import tf_savae
from tf_savae.networks import OracleDecoder, OracleEncoder, TextDecoder


@keras.saving.register_keras_serializable(package="test")
class LearnedPrior(tf_savae.networks.Prior):
    """N(shift, I) with a learned shift."""

    def build(self, shape=None):
        self.shift = self.add_weight(shape=(2,), initializer="random_normal", name="shift")
        self.built = True

    def distribution(self):
        loc = tf.convert_to_tensor(self.shift)
        return tfp.distributions.Independent(tfp.distributions.Normal(loc, tf.ones_like(loc)), 1)


def _functional_encoder():
    x = keras.Input([6])
    hidden = keras.layers.Dense(5, activation="tanh")(x)
    return keras.Model(x, [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)])


def _dense():
    return dense_model(
        encoder=_functional_encoder(),
        learn_step_size=True,
        model={"prior": LearnedPrior(), "beta": tf_savae.CyclicalKLWeight(10), "seed": 5},
    )


def _full_covariance():
    family = tf_savae.FullCovarianceGaussian()
    return dense_model("vae_svi", encoder=dense_encoder(5), model={"family": family})


def _text():
    beta = tf_savae.linear_kl_weight(20)
    return text_model(model={"beta": beta, "free_bits": 0.1}, decoder={"word_dropout": 0.2})


def _oracle():
    keras.utils.set_random_seed(0)
    return tf_savae.SemiAmortizedVAE(
        OracleEncoder(20, 4),
        OracleDecoder(20, 4),
        refinement=tf_savae.SemiAmortizedRefinement(2, 0.01, hvp="reverse_over_reverse"),
    )


def _words():
    return np.random.default_rng(0).integers(0, 20, (4, 5)).astype("int32")


def _batch_norm():
    layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dense(6)]
    return dense_model(decoder=tf_savae.DistributionDecoder(keras.Sequential(layers), "normal"))


def _svi():
    return dense_model("svi")


CASES = {
    "dense": (_dense, data),
    "full_covariance": (_full_covariance, data),
    "text": (_text, tokens),
    "oracle": (_oracle, _words),
    "batch_norm": (_batch_norm, data),
    "svi": (_svi, data),
}


def _answers(model, x):
    return [
        model.negative_elbo(x).numpy(),
        model.infer(x, steps=1).mean().numpy(),
        model.predict(x, verbose=0),
    ]


@pytest.mark.parametrize("name", sorted(CASES))
def test_saved_loaded_equal_and_trained_on(name, tmp_path):
    """A loaded model answers the same to the bit, and so does one more step of training."""
    make, draw = CASES[name]
    x = draw()
    model = compiled(make(), x, optimizer=keras.optimizers.Adam(0.01))
    model.fit(x, epochs=2, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    for got, wanted in zip(_answers(loaded, x), _answers(model, x), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert loaded.optimizer.iterations.numpy() == 2
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    assert loaded.fit(x, **options).history == model.fit(x, **options).history
    for got, wanted in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_autoregressive_saved_and_loaded(tmp_path):
    x = tokens()
    decoder = TextDecoder(20, 4, 5, latent_size=0, dropout=0.3)
    model = compiled(tf_savae.AutoregressiveModel(decoder, seed=4), x)
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.log_likelihood(x), model.log_likelihood(x))
    assert loaded.seed == 4


def test_weights_file(tmp_path):
    x = data()
    model = compiled(_batch_norm(), x)
    model.fit(x, verbose=0)
    model.save_weights(tmp_path / "own.weights.h5")
    other = compiled(_batch_norm(), x)
    assert not np.array_equal(other.negative_elbo(x), model.negative_elbo(x))
    other.load_weights(tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(other.negative_elbo(x), model.negative_elbo(x))


@pytest.mark.parametrize("name", sorted(CASES))
def test_config_round_trip(name):
    model = CASES[name][0]()
    config = model.get_config()
    again = type(model).from_config(config)
    for key in ("objective", "latent_size", "free_bits", "seed"):
        assert getattr(again, key) == getattr(model, key)
    assert again.refinement.get_config() == model.refinement.get_config()
    assert type(again.family) is type(model.family)
    beta = (model._beta_at(3), again._beta_at(3))
    assert float(beta[0]) == float(beta[1])


def test_text_model_loaded_takes_other_lengths(tmp_path):
    model = compiled(_text(), tokens(length=6))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    longer = tokens(length=11)
    np.testing.assert_array_equal(loaded.negative_elbo(longer), model.negative_elbo(longer))


def test_a_function_as_family_cannot_be_saved(tmp_path):
    def family(mean):
        return tfp.distributions.Independent(tfp.distributions.Normal(mean, 1.0), 1)

    model = compiled(dense_model(encoder=dense_encoder(2), model={"family": family}), data())
    with pytest.raises(ValueError, match="a plain function cannot be saved"):
        model.save(tmp_path / "model.keras")
