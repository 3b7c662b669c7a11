"""The synthetic experiment's networks (Kim et al. 2018, section 4.1).

h_t = LSTM(h_{t-1}, x_t); x_{t+1} ~ softmax(MLP([h_t, z])), z in R^2. Rows are int32 [B, T] of
words 0 .. V - 1; the first input is a start symbol with its own embedding. The LSTM does not depend
on z: its states are computed once, and a refinement step only evaluates the MLP.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Distribution, Nest, Seed, TensorLike
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.layers import LSTM, ParameterHead, TokenSoftmax
from tf_savae.networks.sample_axis import merge, repeat_rows, unmerge
from tf_savae.probability import Family, as_family
from tf_savae.samplers.decoding import sample_tokens

__all__ = ["OracleDecoder", "OracleEncoder"]


@register
class OracleDecoder(ChecksSettings, Decoder):
    """The oracle's decoder p(x | z); the default scales are those of the oracle's random weights.

    Args:
      vocabulary_size: V; units: H, also the size of inputs and of the MLP; latent_size: Z.
      scale: weights are initialised from U(-scale, scale); `latent_scale` is the scale of the MLP's
        weights of z, large so that x depends on z; `output_scale` that of the output layer.
      seed: int, seed of the random weights.

    >>> decoder = OracleDecoder(20, units=8)
    >>> decoder(tf.constant([[4, 0, 19]]), tf.zeros([1, 2])).shape.as_list()
    [1]
    """

    def __init__(
        self,
        vocabulary_size: int = 1000,
        units: int = 100,
        latent_size: int = 2,
        scale: float = 1.0,
        latent_scale: float = 5.0,
        output_scale: float = 0.6,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = validation.positive_int("vocabulary_size", vocabulary_size)
        self.units = validation.positive_int("units", units)
        self.latent_size = validation.positive_int("latent_size", latent_size)
        self.scale = validation.positive("scale", scale)
        self.latent_scale = validation.positive("latent_scale", latent_scale)
        self.output_scale = validation.positive("output_scale", output_scale)
        self.seed = validation.non_negative_int("seed", seed)

        def uniform(limit, offset):
            return keras.initializers.RandomUniform(-limit, limit, seed=self.seed * 16 + offset)

        same = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(
            self.vocabulary_size + 1, self.units, uniform(self.scale, 0), **same
        )
        units, scale = self.units, self.scale
        self.lstm = LSTM(units, units, uniform(scale, 1), **same)
        self.from_hidden = keras.layers.Dense(units, kernel_initializer=uniform(scale, 5), **same)
        self.from_latent = keras.layers.Dense(
            units, use_bias=False, kernel_initializer=uniform(self.latent_scale, 6), **same
        )
        self.softmax = TokenSoftmax(vocabulary_size, units, uniform(self.output_scale, 7), **same)

    def prepare(
        self, x: Nest, seed: Seed | None = None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the LSTM's contribution to the MLP's input [T, B, H], and the targets [T, B]."""
        targets = tf.transpose(x)
        start = tf.fill(tf.shape(targets[:1]), self.vocabulary_size)
        inputs = tf.concat([start, targets[:-1]], axis=0)
        return self.from_hidden(self.lstm(self.embedding(inputs))), targets

    def log_prob_prepared(
        self, prepared: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        features, targets = prepared
        return self._log_prob(tf.tanh(features + self._latent(z)[None]), targets)

    def log_prob_samples(
        self,
        prepared: Nest,
        z: tf.Tensor,
        seeds: Sequence[tf.Tensor],
        training: bool = False,
    ) -> tf.Tensor:
        """As `Decoder.log_prob_samples`; all S B rows are evaluated in one call."""
        features, targets = prepared
        hidden = merge(tf.tanh(features[:, None] + self._latent(z)[None]), axis=1)
        log_prob = self._log_prob(hidden, repeat_rows(targets, len(seeds), axis=1))
        return unmerge(log_prob, len(seeds))

    def _log_prob(self, hidden, targets):
        nll = self.softmax.nll(tf.reshape(hidden, [-1, self.units]), tf.reshape(targets, [-1]))
        return -tf.reduce_sum(tf.reshape(nll, tf.shape(targets)), axis=0)

    def _latent(self, z):
        return self.from_latent(tf.cast(z, self.compute_dtype))

    def log_prob(
        self, x: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z), [B] nats: int32 x [B, T], z [B, Z]."""
        return self.log_prob_prepared(self.prepare(x), z)

    def sample(
        self, z: tf.Tensor, seed: Seed | None = None, length: int = 5, temperature: TensorLike = 1.0
    ) -> tf.Tensor:
        """Samples words, int32 [B, length]."""
        length = validation.positive_int("length", length)
        shift = self._latent(z)
        zeros = tf.zeros([tf.shape(z)[0], self.units], self.compute_dtype)

        def step(tokens, state):
            embedded = tf.reshape(self.embedding(tokens), [-1, self.units])
            state = self.lstm.step(self.lstm.project(embedded), state)
            return self.softmax(tf.tanh(self.from_hidden(state[0]) + shift)), state

        rows = sample_tokens(
            step,
            (zeros, zeros),
            tf.shape(z)[0],
            length,
            seeds.as_seed(0 if seed is None else seed),
            temperature,
            start=self.vocabulary_size,
            end=None,
        )
        return rows[:, 1:]

    def get_config(self) -> Config:
        names = (
            "vocabulary_size",
            "units",
            "latent_size",
            "scale",
            "latent_scale",
            "output_scale",
            "seed",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class OracleEncoder(ChecksSettings, keras.layers.Layer):
    """An LSTM encoder; a linear layer maps its last state to the variational parameters.

    >>> mean, log_variance = OracleEncoder(20, units=8)(tf.constant([[4, 0, 19]]))
    >>> mean.shape.as_list()
    [1, 2]
    """

    def __init__(
        self,
        vocabulary_size: int = 1000,
        units: int = 100,
        latent_size: int = 2,
        family: Family | Callable[..., Distribution] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = validation.positive_int("vocabulary_size", vocabulary_size)
        self.units = validation.positive_int("units", units)
        self.latent_size = validation.positive_int("latent_size", latent_size)
        self.family = as_family(family)
        same = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(self.vocabulary_size, self.units, **same)
        self.lstm = LSTM(self.units, self.units, **same)
        self.head = ParameterHead(self.family, self.latent_size, **same)

    def get_build_config(self) -> None:
        """Returns None: the weights are created when the model that owns the encoder calls it."""
        return None

    def call(self, x: Nest, training: bool = False) -> Nest:
        return self.head(self.lstm(self.embedding(tf.transpose(x)))[-1])

    def get_config(self) -> Config:
        names = ("vocabulary_size", "units", "latent_size")
        own = {name: getattr(self, name) for name in names}
        own["family"] = keras.saving.serialize_keras_object(self.family)
        return {**super().get_config(), **own}
