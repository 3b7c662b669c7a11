"""The paper's text networks: LSTM encoder and decoder (Kim et al. 2018, section 4.2).

Rows are <s> w_1 ... w_n </s> <pad> ..., with ids 0 <pad>, 1 <unk>, 2 <s>, 3 </s>. The decoder
reads x[:, :-1] and predicts x[:, 1:]; positions whose target is <pad> are masked.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import batch_shard, seeds, validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.tokens import END, PAD, UNK
from tf_savae.core.typing import Config, Distribution, Nest, Seed
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.layers import LSTM, ParameterHead, TokenSoftmax, last_state
from tf_savae.networks.sample_axis import merge, repeat_rows, unmerge
from tf_savae.networks.text_sampling import SamplesText
from tf_savae.probability import Family, as_family

__all__ = ["TextDecoder", "TextEncoder", "predicted_tokens"]


def _uniform(scale):
    """Returns a new initializer: a Keras initializer draws the same values at every use."""
    return keras.initializers.RandomUniform(-scale, scale)


def _embedding(vocabulary_size, size, scale, dtype):
    return keras.layers.Embedding(vocabulary_size, size, _uniform(scale), dtype=dtype)


def _dense(units, scale, **kwargs):
    return keras.layers.Dense(units, kernel_initializer=_uniform(scale), **kwargs)


def _dropout(tensor, rate, seed, training):
    """Applies dropout to a tensor [T, B, H]."""
    if not training or not rate:
        return tensor
    drop = functools.partial(
        tf.nn.experimental.stateless_dropout, rate=rate, seed=seed, rng_alg="auto_select"
    )
    if batch_shard.current_shard() is None:
        return drop(tensor)
    time, batch, width = tf.unstack(tf.shape(tensor), num=3)
    return tensor * batch_shard.draw_sharded(
        lambda rows: drop(tf.ones([time, rows, width], tensor.dtype)), batch, axis=1
    )


def predicted_tokens(x: tf.Tensor) -> tf.Tensor:
    """Returns the number of predicted tokens per row, </s> included: int32 [B].

    >>> predicted_tokens(tf.constant([[2, 5, 3, 0], [0, 0, 0, 0]])).numpy().tolist()
    [2, 0]
    """
    return tf.reduce_sum(tf.cast(x[:, 1:] != PAD, tf.int32), axis=1)


@register
class TextEncoder(ChecksSettings, keras.layers.Layer):
    """An LSTM encoder; a linear layer maps its last state to the variational parameters.

    Args:
      vocabulary_size: V; embedding_size: E; units: H; latent_size: Z.
      family: variational family (a diagonal Gaussian by default).
      initial_scale: weights are initialised from U(-initial_scale, initial_scale); the paper uses
        0.1.

    >>> encoder = TextEncoder(20, embedding_size=4, units=6, latent_size=2)
    >>> mean, log_variance = encoder(tf.constant([[2, 7, 3, 0]]))
    >>> mean.shape.as_list()
    [1, 2]
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int = 512,
        units: int = 1024,
        latent_size: int = 32,
        family: Family | Callable[..., Distribution] | None = None,
        initial_scale: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = validation.positive_int("vocabulary_size", vocabulary_size)
        self.embedding_size = validation.positive_int("embedding_size", embedding_size)
        self.units = validation.positive_int("units", units)
        self.latent_size = validation.positive_int("latent_size", latent_size)
        self.family = as_family(family)
        self.initial_scale = validation.positive("initial_scale", initial_scale)
        scale, dtype = self.initial_scale, self.dtype_policy
        self.embedding = _embedding(self.vocabulary_size, self.embedding_size, scale, dtype)
        self.lstm = LSTM(self.units, self.embedding_size, _uniform(scale), dtype=dtype)
        self.head = ParameterHead(self.family, self.latent_size, _uniform(scale), dtype=dtype)

    def get_build_config(self) -> None:
        """Returns None: the weights are created when the model that owns the encoder calls it."""
        return None

    def call(self, x: Nest, training: bool = False) -> Nest:
        return self.encode_embedded(self.embed(x), x)

    def embed(self, x: Nest) -> tf.Tensor:
        """Returns the embeddings of the input tokens, [T, B, E]."""
        return self.embedding(tf.transpose(x))

    def encode_embedded(self, embedded: tf.Tensor, x: Nest) -> Nest:
        """Returns the parameters for embeddings of x; the lengths of rows are taken from x."""
        hidden = self.lstm(embedded)
        lengths = tf.reduce_sum(tf.cast(x != PAD, tf.int32), axis=1)
        return self.head(last_state(hidden, lengths))

    def get_config(self) -> Config:
        names = ("vocabulary_size", "embedding_size", "units", "latent_size", "initial_scale")
        own = {name: getattr(self, name) for name in names}
        own["family"] = keras.saving.serialize_keras_object(self.family)
        return {**super().get_config(), **own}


@register
class TextDecoder(ChecksSettings, SamplesText, Decoder):
    """An LSTM language model conditioned on z.

    z is concatenated to every input and sets the initial hidden state.

    Args:
      vocabulary_size: V; embedding_size: E; units: H.
      latent_size: Z; 0 gives a language model without z, where z is None or [B, 0].
      dropout: dropout rate of the inputs and outputs of the LSTM, in training.
      word_dropout: rate at which input words become <unk> in training (Bowman et al. 2016).
      initial_scale: weights are initialised from U(-initial_scale, initial_scale).

    >>> decoder = TextDecoder(20, embedding_size=4, units=6, latent_size=2)
    >>> decoder(tf.constant([[2, 7, 3, 0]]), tf.zeros([1, 2])).shape.as_list()
    [1]
    """

    _changeable = {
        "dropout": lambda rate: validation.unit_interval("dropout", rate, closed=False),
        "word_dropout": lambda rate: validation.unit_interval("word_dropout", rate, closed=False),
    }

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int = 512,
        units: int = 1024,
        latent_size: int = 32,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        initial_scale: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = validation.positive_int("vocabulary_size", vocabulary_size)
        self.embedding_size = validation.positive_int("embedding_size", embedding_size)
        self.units = validation.positive_int("units", units)
        self.latent_size = validation.non_negative_int("latent_size", latent_size)
        self.dropout, self.word_dropout = dropout, word_dropout
        self.initial_scale = validation.positive("initial_scale", initial_scale)
        scale, dtype = self.initial_scale, self.dtype_policy
        self.embedding = _embedding(self.vocabulary_size, self.embedding_size, scale, dtype)
        self.lstm = LSTM(self.units, self.embedding_size, _uniform(scale), dtype=dtype)
        self.softmax = TokenSoftmax(self.vocabulary_size, self.units, _uniform(scale), dtype=dtype)
        if self.latent_size:
            self.to_gates = _dense(4 * self.units, scale, dtype=dtype, use_bias=False)
            self.to_hidden = _dense(self.units, scale, dtype=dtype)

    def count_tokens(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the number of predicted tokens per row, </s> included: int32 [B]."""
        return predicted_tokens(x)

    def prepare(
        self, x: Nest, seed: Seed | None = None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds and projects the inputs, once for all refinement steps, since z is not used.

        Input dropout and word dropout are applied here, so that all steps share one mask.
        """
        inputs, targets = x[:, :-1], x[:, 1:]
        if training and (self.dropout or self.word_dropout):
            first, second = seeds.split(seed, 2)
            inputs = self._drop_words(inputs, first)
        embedded = self.embedding(tf.transpose(inputs))
        if training and self.dropout:
            embedded = _dropout(embedded, self.dropout, second, training)
        return self.lstm.project(embedded), tf.transpose(targets)

    def _drop_words(self, inputs, seed):
        if not self.word_dropout:
            return inputs
        batch, time = tf.unstack(tf.shape(inputs), num=2)
        chance = batch_shard.draw_sharded(
            lambda n: tf.random.stateless_uniform([n, time], seed), batch
        )
        word = (inputs > END) & (chance < self.word_dropout)
        return tf.where(word, UNK, inputs)

    def log_prob_prepared(
        self, prepared: Nest, z: tf.Tensor | None, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        return -tf.reduce_sum(self._token_nll(prepared, z, seed, training), axis=0)

    def token_log_probs(self, x: Nest, z: tf.Tensor | None) -> tf.Tensor:
        """Returns log p(x_t | x_<t, z) of each token, [B, T - 1] nats; 0 where x_t is <pad>."""
        return -tf.transpose(self._token_nll(self.prepare(x), z))

    def _token_nll(self, prepared, z, seed=None, training=False):
        """Returns the NLL of each token, [T - 1, B] nats, 0 where the target is <pad>."""
        projected, targets = prepared
        projected, hidden = self._condition(projected, z)
        states = _dropout(self.lstm.run(projected, hidden), self.dropout, seed, training)
        return self._masked_nll(states, targets)

    def log_prob_samples(
        self,
        prepared: Nest,
        z: tf.Tensor,
        seeds: Sequence[tf.Tensor],
        training: bool = False,
    ) -> tf.Tensor:
        """As `Decoder.log_prob_samples`, in one time loop; each sample has its own dropout mask."""
        projected, targets = prepared
        if not self.latent_size:
            return super().log_prob_samples(prepared, z, seeds, training)
        count = len(seeds)
        projected, hidden = self._condition(projected[:, None], z)
        states = self.lstm.run(merge(projected, axis=1), merge(hidden))
        if training and self.dropout:
            rows = tf.unstack(unmerge(states, count, axis=1), axis=1)
            pairs = zip(rows, seeds, strict=True)
            states = tf.concat([_dropout(r, self.dropout, s, training) for r, s in pairs], axis=1)
        nll = self._masked_nll(states, repeat_rows(targets, count, axis=1))
        return unmerge(-tf.reduce_sum(nll, axis=0), count)

    def _masked_nll(self, states, targets):
        flat = tf.reshape(states, [-1, self.units])
        nll = self.softmax.nll(flat, tf.reshape(targets, [-1]))
        mask = tf.cast(targets != PAD, nll.dtype)
        return tf.reshape(nll, tf.shape(targets)) * mask

    def _condition(self, projected, z):
        """Adds the contribution of z to the gates, and returns it with the initial state."""
        if not self.latent_size:
            return projected, None
        z = tf.cast(z, self.compute_dtype)
        return projected + self.to_gates(z)[None], self.to_hidden(z)

    def log_prob(
        self, x: Nest, z: tf.Tensor | None, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z), [B] nats: int32 x [B, T], z [B, Z]."""
        seed = seeds.as_seed(0 if seed is None else seed)
        inner, outer = seeds.split(seed, 2)
        prepared = self.prepare(x, inner, training)
        return self.log_prob_prepared(prepared, z, outer, training)

    def get_config(self) -> Config:
        names = (
            "vocabulary_size",
            "embedding_size",
            "units",
            "latent_size",
            "dropout",
            "word_dropout",
            "initial_scale",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
