"""Keras layers of the text and oracle networks."""

from typing import Any, Self

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Nest, TensorLike
from tf_savae.ops.recurrences import lstm, lstm_step
from tf_savae.ops.token_softmax import token_nll
from tf_savae.probability import Family

__all__ = ["LSTM", "ParameterHead", "TokenSoftmax", "last_state"]


@register
class LSTM(ChecksSettings, keras.layers.Layer):
    """A time-major LSTM whose first and second derivatives compile with XLA.

    `keras.layers.LSTM` is not used because its cuDNN kernel has neither a second derivative nor XLA
    support, and because refinement steps cannot share the projection of its inputs.

    Args:
      units: H.
      input_size: width of the inputs.
      initializer: for all weights, biases included.

    >>> LSTM(4, 3)(tf.zeros([5, 2, 3])).shape.as_list()
    [5, 2, 4]
    """

    def __init__(
        self, units: int, input_size: int, initializer: Any = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = validation.positive_int("units", units)
        self.input_size = validation.positive_int("input_size", input_size)
        self.initializer = keras.initializers.get(initializer)

    def build(self, shape: TensorLike = None) -> None:
        width = 4 * self.units
        first, second, third = (_fresh(self.initializer, n) for n in range(3))
        self.kernel = self.add_weight((self.input_size, width), first, name="kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, width), second, name="recurrent_kernel"
        )
        bias = third if _is_uniform(self.initializer) else "zeros"
        self.bias = self.add_weight((width,), bias, name="bias")
        self.built = True

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        """Projects inputs [..., input_size] to pre-activations [..., 4H], before the time loop."""
        self._ensure_built()
        inputs = tf.cast(inputs, self.compute_dtype)
        # Flattened to one matrix, so that the kernel's gradient is a single product; that of a
        # batched product would be a [input_size, 4H] matrix for each time step.
        rows = tf.matmul(tf.reshape(inputs, [-1, self.input_size]), self._computed(self.kernel))
        shape = tf.concat([tf.shape(inputs)[:-1], [4 * self.units]], axis=0)
        projected = tf.reshape(rows + self._computed(self.bias), shape)
        return tf.ensure_shape(projected, [*inputs.shape[:-1], 4 * self.units])

    def run(
        self, projected: tf.Tensor, hidden: tf.Tensor | None = None, cell: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns hidden states [T, B, H] for pre-activations [T, B, 4H] and a first state."""
        self._ensure_built()
        projected = tf.cast(projected, self.compute_dtype)
        zeros = tf.zeros_like(projected[0, :, : self.units])
        hidden = zeros if hidden is None else tf.cast(hidden, zeros.dtype)
        cell = zeros if cell is None else tf.cast(cell, zeros.dtype)
        return lstm(projected, self._computed(self.recurrent_kernel), hidden, cell)

    def step(
        self, projected: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the next (h, c) for pre-activations [B, 4H] and (h, c); used by sampling."""
        state = tuple(tf.cast(part, self.compute_dtype) for part in state)
        recurrent = tf.matmul(state[0], self._computed(self.recurrent_kernel))
        return lstm_step(projected + recurrent, state)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.run(self.project(inputs))

    def _computed(self, weight):
        """Returns the weight in the compute dtype; Keras autocasts only inside `__call__`."""
        return tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

    def _ensure_built(self):
        if not self.built:
            self.build()

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "units": self.units,
            "input_size": self.input_size,
            "initializer": keras.initializers.serialize(self.initializer),
        }


def _fresh(initializer, number):
    """Returns a copy with another seed: a Keras initializer draws the same values at every use."""
    config = initializer.get_config()
    if config.get("seed") is not None:
        config["seed"] += number
    return type(initializer).from_config(config)


def _is_uniform(initializer):
    return isinstance(initializer, keras.initializers.RandomUniform)


def last_state(hidden: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Returns the hidden state [B, H] at each row's last token, from [T, B, H] and lengths [B].

    >>> last_state(tf.reshape(tf.range(6.0), [3, 2, 1]), tf.constant([1, 3])).numpy().tolist()
    [[0.0], [5.0]]
    """
    index = tf.maximum(lengths - 1, 0)
    picks = tf.one_hot(index, tf.shape(hidden)[0], axis=0, dtype=hidden.dtype)
    # A product with one-hot rows, whose derivative is supported in loops and by XLA.
    return tf.reduce_sum(hidden * picks[:, :, None], axis=0)


@register
class ParameterHead(ChecksSettings, keras.layers.Layer):
    """A linear layer from features [B, H] to the parameters of a variational family.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> mean, log_variance = ParameterHead(DiagonalGaussian(), 3)(tf.zeros([2, 8]))
    >>> mean.shape.as_list()
    [2, 3]
    """

    def __init__(
        self,
        family: Family,
        latent_size: int,
        initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.family = family
        self.latent_size = validation.positive_int("latent_size", latent_size)
        self.initializer = keras.initializers.get(initializer)
        self.dense = keras.layers.Dense(
            family.parameter_count(self.latent_size),
            kernel_initializer=self.initializer,
            dtype=self.dtype_policy,
        )

    def call(self, features: tf.Tensor) -> Nest:
        outputs = tf.cast(self.dense(features), self.variable_dtype)
        return self.family.unpack(outputs, self.latent_size)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "family": keras.saving.serialize_keras_object(self.family),
            "latent_size": self.latent_size,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        family = keras.saving.deserialize_keras_object(config["family"])
        return cls(**{**config, "family": family})


@register
class TokenSoftmax(ChecksSettings, keras.layers.Layer):
    """The output projection to the vocabulary, with a fused `nll` (see `token_nll`).

    >>> TokenSoftmax(10, 4).nll(tf.zeros([3, 4]), tf.zeros([3], tf.int32)).shape.as_list()
    [3]
    """

    def __init__(
        self,
        vocabulary_size: int,
        input_size: int,
        initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = validation.positive_int("vocabulary_size", vocabulary_size)
        self.input_size = validation.positive_int("input_size", input_size)
        self.initializer = keras.initializers.get(initializer)

    def build(self, shape: TensorLike = None) -> None:
        size = (self.input_size, self.vocabulary_size)
        self.kernel = self.add_weight(size, self.initializer, name="kernel")
        self.bias = self.add_weight((self.vocabulary_size,), "zeros", name="bias")
        self.built = True

    def nll(self, hidden: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Returns -log p(target | hidden), [N] nats: hidden [N, H], int32 targets [N]."""
        if not self.built:
            self.build()
        return token_nll(
            tf.cast(hidden, self.compute_dtype),
            tf.cast(tf.convert_to_tensor(self.kernel), self.compute_dtype),
            tf.convert_to_tensor(self.bias),
            targets,
        )

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Returns logits [..., V], for sampling."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), hidden.dtype)
        return tf.matmul(hidden, kernel) + tf.cast(tf.convert_to_tensor(self.bias), hidden.dtype)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "input_size": self.input_size,
            "initializer": keras.initializers.serialize(self.initializer),
        }
