"""Decoders p(x | z): the base class, and a decoder from any Keras network and likelihood."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Distribution, Nest, Seed
from tf_savae.networks.sample_axis import merge, repeat_rows, unmerge
from tf_savae.probability.distribution_checks import check_distribution, check_legacy

__all__ = ["Decoder", "DistributionDecoder", "joins_samples"]

tfd = tfp.distributions
_OF_ONE_SAMPLE = ("prepare", "log_prob", "log_prob_prepared")


class Decoder(keras.layers.Layer):
    """Base class of decoders p(x | z); subclasses implement `log_prob`, and `sample` to generate.

    Computations of `log_prob` that depend on x but not on z (such as embeddings) may be moved to
    `prepare`, which runs once per batch and not in each of the K refinement steps. Its result is
    passed to `log_prob_prepared`.

    Refinement steps that average over S samples of z call `log_prob_prepared` S times. A decoder
    that can evaluate all samples together, with one large matrix product instead of S small ones,
    also overrides `log_prob_samples`.

    Attributes:
      data_range: (low, high), the range of x for which the likelihood is defined; a model raises
        ValueError for other data. None if the range is not limited.

    >>> class Bernoulli(Decoder):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.logits = keras.layers.Dense(4)
    ...     def log_prob(self, x, z, seed=None, training=False):
    ...         return tfd.Independent(tfd.Bernoulli(logits=self.logits(z)), 1).log_prob(x)
    >>> Bernoulli()(tf.zeros([2, 4]), tf.zeros([2, 3])).shape.as_list()
    [2]
    """

    data_range: tuple[float, float] | None = None

    def __init__(self, **kwargs: Any) -> None:
        # The data and z keep their precision; sublayers cast their own inputs.
        super().__init__(**{"autocast": False, **kwargs})

    def get_build_config(self) -> None:
        """Returns None: the weights are created when the model that owns the decoder calls it."""
        return None

    def log_prob(
        self, x: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z) in nats, one number per example: [B].

        Args:
          x: nest of tensors [B, ...].
          z: [B, Z].
          seed: stateless seed [2] for any noise (dropout); the same seed gives the same noise.
          training: whether dropout and similar layers are active.
        """
        raise NotImplementedError

    def sample(self, z: tf.Tensor, seed: Seed | None = None) -> Nest:
        """Draws x from p(x | z), one per row of z [B, Z]."""
        raise NotImplementedError(f"{type(self).__name__} has no sample(z, seed).")

    def prepare(self, x: Nest, seed: Seed | None = None, training: bool = False) -> Nest:
        """Computes everything that depends on x but not on z; by default returns x."""
        del seed, training
        return x

    def log_prob_prepared(
        self, prepared: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns `log_prob` for the result of `prepare`."""
        return self.log_prob(prepared, z, seed=seed, training=training)

    def log_prob_samples(
        self,
        prepared: Nest,
        z: tf.Tensor,
        seeds: Sequence[tf.Tensor],
        training: bool = False,
    ) -> tf.Tensor:
        """Returns `log_prob_prepared` of S samples of z per example at once: [S, B] nats.

        Row s is `log_prob_prepared(prepared, z[s], seeds[s], training)`. An override is not used if
        a subclass overrides `prepare`, `log_prob` or `log_prob_prepared` without it, if Keras
        layers draw noise, or, in training, if layers update moving statistics.

        Args:
          prepared: the result of `prepare`.
          z: [S, B, Z] with a static S.
          seeds: S stateless seeds [2].
          training: whether dropout and similar layers are active.
        """
        pairs = zip(tf.unstack(z), seeds, strict=True)
        return tf.stack([self.log_prob_prepared(prepared, *p, training=training) for p in pairs])

    def call(
        self, x: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        return self.log_prob(x, z, seed=seed, training=training)


def joins_samples(decoder: Decoder) -> bool:
    """Returns whether the decoder's own `log_prob_samples` agrees with its other methods.

    It is taken to agree unless a more derived class overrides `prepare`, `log_prob` or
    `log_prob_prepared`.

    >>> joins_samples(Decoder())
    False
    """

    def depth(name):
        if name in vars(decoder):
            return -1
        owners = [name in vars(kind) for kind in type(decoder).__mro__]
        return owners.index(True)

    mine = getattr(type(decoder), "log_prob_samples", None)
    if mine is None or mine is Decoder.log_prob_samples:
        return False
    return all(depth("log_prob_samples") <= depth(name) for name in _OF_ONE_SAMPLE)


@register
class DistributionDecoder(ChecksSettings, Decoder):
    """A decoder from a Keras network, z -> likelihood parameters, and a likelihood.

    Args:
      network: Keras layer or model, z [B, Z] -> [B, ...]. It may contain dropout and batch
        normalisation: all refinement steps use the same masks, and moving statistics are updated.
      likelihood: "bernoulli" (network gives logits), "normal" (network gives the mean, unit
        variance), or a function from the network's output to a TFP distribution with batch
        shape [B] or [B, ...] (its log probability is summed down to [B]).

    >>> decoder = DistributionDecoder(keras.layers.Dense(4), likelihood="bernoulli")
    >>> decoder(tf.zeros([2, 4]), tf.zeros([2, 3])).shape.as_list()
    [2]
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        likelihood: str | Callable[[Any], Distribution] = "bernoulli",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_legacy("network", network)
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(
                f"network: expected a Keras layer or model, z [B, Z] -> [B, ...], got {network!r}."
            )
        if not callable(likelihood):
            validation.choice("likelihood", likelihood, tuple(_LIKELIHOODS))
        self.network = network
        self.likelihood = likelihood
        self.data_range = (0, 1) if likelihood == "bernoulli" else None

    def distribution(self, z: tf.Tensor, training: bool = False) -> Distribution:
        """Returns p(x | z), a TFP distribution."""
        outputs = self.network(z, training=training)
        # A likelihood sums over many features, which needs more than half precision.
        outputs = tf.cast(outputs, tf.float32) if outputs.dtype.size < 4 else outputs
        make = self.likelihood if callable(self.likelihood) else _LIKELIHOODS[self.likelihood]
        distribution = make(outputs)
        check_distribution("likelihood", distribution)
        return distribution

    def log_prob(
        self, x: Nest, z: tf.Tensor, seed: Seed | None = None, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z), [B] nats: z [B, Z], x of the shape of samples of `distribution(z)`.

        Raises:
          ValueError: x has another shape, or fractional values under an integer likelihood.
          TypeError: the function `likelihood` does not return a TFP distribution.
        """
        distribution = self.distribution(z, training)
        _check_whole(x, distribution.dtype)
        x = tf.cast(x, distribution.dtype)
        _check_shape(x, distribution, callable(self.likelihood))
        log_prob = distribution.log_prob(x)
        return tf.reduce_sum(log_prob, axis=list(range(1, log_prob.shape.rank)))

    def log_prob_samples(
        self,
        prepared: Nest,
        z: tf.Tensor,
        seeds: Sequence[tf.Tensor],
        training: bool = False,
    ) -> tf.Tensor:
        """As `Decoder.log_prob_samples`; the network is called once, on S B rows."""
        x = repeat_rows(tf.convert_to_tensor(prepared), len(seeds))
        return unmerge(self.log_prob(x, merge(z), training=training), len(seeds))

    def sample(self, z: tf.Tensor, seed: Seed | None = None) -> Nest:
        distribution = self.distribution(z)
        return distribution.sample(seed=seed)

    def get_config(self) -> Config:
        config = super().get_config()
        config["network"] = keras.saving.serialize_keras_object(self.network)
        config["likelihood"] = keras.saving.serialize_keras_object(self.likelihood)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        config = dict(config)
        for name in ("network", "likelihood"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


_LIKELIHOODS = {
    "bernoulli": lambda logits: tfd.Bernoulli(logits=logits, dtype=logits.dtype),
    "normal": lambda mean: tfd.Normal(mean, tf.ones_like(mean)),
}


def _check_whole(x, dtype):
    """Raises ValueError if x is eager and a cast to `dtype` would discard fractions."""
    x = tf.convert_to_tensor(x)
    if not (x.dtype.is_floating and dtype.is_integer and hasattr(x, "numpy")):
        return
    fractions = tf.boolean_mask(x, x != tf.round(x))
    if tf.size(fractions):
        raise ValueError(
            f"x: expected whole numbers under a likelihood of dtype {dtype.name}, got "
            f"{float(fractions[0]):.6g}. Give the likelihood a float dtype, as in "
            "tfp.distributions.Bernoulli(logits=logits, dtype=logits.dtype)."
        )


def _check_shape(x, distribution, own):
    """Raises ValueError if x does not have the likelihood's shape, since x would be broadcast.

    With a user-defined likelihood (`own`) features may be broadcast on purpose. Some distributions,
    such as flows, do not report their batch shape.
    """
    wanted = distribution.batch_shape.concatenate(distribution.event_shape)
    told = not own or distribution.batch_shape.rank != 0
    fits = x.shape.rank == wanted.rank and x.shape[:1].is_compatible_with(wanted[:1])
    if told and not (fits if own else x.shape.is_compatible_with(wanted)):
        raise ValueError(
            f"x: expected shape {wanted.as_list()}, that of the likelihood of the network's "
            f"output, got {x.shape.as_list()}. Give the network one output for each element of x, "
            "or reshape one of them; both are batch-first."
        )
