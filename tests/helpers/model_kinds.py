"""Every kind of model once, small: a new one joins the conformance suite by an entry of `KINDS`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras_models import data, dense_decoder, dense_encoder, tokens

import tf_savae
from tf_savae import networks
from tf_savae.networks import Decoder, Prior

tfd = tfp.distributions
ROWS, LATENT = 4, 2
PACKAGE = {"package": "conformance"}


@dataclasses.dataclass(frozen=True)
class Kind:
    """How to make one model and its data.

    Attributes:
      make: () -> a new model, not compiled.
      x: nest of arrays [4, ...].
      shape: what `build` is given; None where it cannot tell (a nest of several dtypes).
      options: of the decoder's `sample`, the same for all rows.
      by_row: of it, arrays [4, ...].
    """

    make: Callable
    x: Any
    shape: Any = None
    options: dict = dataclasses.field(default_factory=dict)
    by_row: dict = dataclasses.field(default_factory=dict)


@keras.saving.register_keras_serializable(**PACKAGE)
class ShiftedFamily(tf_savae.Family):
    """A family of a user's own: Laplace with one tensor of parameters."""

    def parameter_shapes(self, latent_size):
        return [latent_size]

    def distribution(self, parameters):
        return tfd.Independent(tfd.Laplace(parameters, tf.ones_like(parameters)), 1)


@keras.saving.register_keras_serializable(**PACKAGE)
class LearnedPrior(Prior):
    """A prior with a weight, which is trained with the decoder's."""

    def build(self, shape=None):
        self.shift = self.add_weight((LATENT,), "zeros", name="shift")
        self.built = True

    def distribution(self):
        shift = tf.convert_to_tensor(self.shift)
        return tfd.Independent(tfd.Normal(shift, tf.ones_like(shift)), 1)


@keras.saving.register_keras_serializable(**PACKAGE)
class LabelledDecoder(Decoder):
    """p(values | z, label) of x = {"values", "label"}."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.network = keras.layers.Dense(6)
        self.labels = keras.layers.Embedding(3, 6)

    def _mean(self, z, label):
        return self.network(z) + self.labels(label)

    def log_prob(self, x, z, seed=None, training=False):
        mean = tf.cast(self._mean(z, x["label"]), x["values"].dtype)
        return tf.reduce_sum(-0.5 * (x["values"] - mean) ** 2, axis=1)

    def sample(self, z, seed=None, label=0):
        mean = self._mean(z, label)
        return mean + tf.cast(tf.random.stateless_normal(tf.shape(mean), seed), mean.dtype)


@keras.saving.register_keras_serializable(**PACKAGE)
class LabelledEncoder(keras.layers.Layer):
    """Of {"values", "label"}."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2 * LATENT)

    def call(self, x):
        return self.dense(x["values"])


def _vae(encoder, decoder, objective="vae_svi", steps=1, **options):
    refinement = tf_savae.SemiAmortizedRefinement(
        steps=steps, step_size=0.1, hvp="reverse_over_reverse"
    )
    options = {"latent_size": LATENT, **options}
    return tf_savae.SemiAmortizedVAE(
        encoder, decoder, refinement=refinement, objective=objective, **options
    )


def _text():
    encoder = networks.TextEncoder(20, 4, 5, LATENT)
    return _vae(encoder, networks.TextDecoder(20, 4, 5, LATENT, dropout=0.0))


def _image():
    decoder = networks.PixelCNNDecoder((4, 4), LATENT, 4, (3,), 2)
    return _vae(networks.ResidualEncoder(LATENT, (4,)), decoder)


def _baseline():
    decoder = networks.TextDecoder(20, 4, 5, latent_size=0, dropout=0.0)
    return tf_savae.AutoregressiveModel(decoder)


def _pixels():
    return (np.random.default_rng(0).uniform(size=(ROWS, 4, 4, 1)) > 0.5).astype("float32")


DENSE = data(ROWS, "float32")
TOKENS = tokens(ROWS)
LABELLED = {"values": DENSE, "label": np.array([0, 1, 2, 0], "int32")}
SIX, TEXT = (None, 6), (None, None)

KINDS = {
    "dense": Kind(lambda: _vae(dense_encoder(), dense_decoder(), "savae", 2), DENSE, SIX),
    "text": Kind(_text, TOKENS, TEXT, {"length": 5}),
    "image": Kind(_image, _pixels(), (None, 4, 4, 1)),
    "oracle": Kind(
        lambda: _vae(
            networks.OracleEncoder(20, 5, LATENT), networks.OracleDecoder(20, 5, LATENT), "vae"
        ),
        np.random.default_rng(0).integers(0, 20, (ROWS, 5)).astype("int32"),
        TEXT,
    ),
    "conditional": Kind(
        lambda: _vae(LabelledEncoder(), LabelledDecoder()),
        LABELLED,
        by_row={"label": LABELLED["label"]},
    ),
    "family": Kind(
        lambda: _vae(dense_encoder(LATENT), dense_decoder(), "vae", family=ShiftedFamily()),
        DENSE,
        SIX,
    ),
    "prior": Kind(lambda: _vae(dense_encoder(), dense_decoder(), prior=LearnedPrior()), DENSE, SIX),
    "baseline": Kind(_baseline, TOKENS, TEXT, {"length": 5}),
}
