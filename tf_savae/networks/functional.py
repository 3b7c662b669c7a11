"""Wrap encoder, decoder and prior, which are Keras layers, as pure functions of tensors.

Weights, random state and moving statistics are arguments, so that calls with the same arguments
return the same results. The backward pass of refinement therefore replays dropout masks exactly.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_savae.core import batch_shard, seeds, validation
from tf_savae.core.noise_streams import ForwardStream
from tf_savae.core.typing import Nest, Seed
from tf_savae.networks.decoder import Decoder, joins_samples
from tf_savae.networks.prior import Prior
from tf_savae.probability import ElboTerms, Family, elbo_terms, kl_divergence
from tf_savae.probability.codes import draw_codes, kl_of_codes

__all__ = ["Effects", "PureEncoder", "PureGenerator"]


class Effects(NamedTuple):
    """Side effects of layers: variable updates and added losses."""

    statistics: list  # (variable, new value): moving statistics, and weights set by layers.
    losses: list  # Scalars from activity regularisers and `add_loss`.

    def __add__(self, other):
        return Effects(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class _State:
    """The variables of a list of layers, by kind.

    Attributes:
      weights: trainable variables.
      statistics: all other saved variables (frozen weights, moving averages); `constants` are their
        current values.
      random: states of seed generators.
    """

    def __init__(self, layers):
        layers = [layer for layer in layers if layer is not None]
        self.weights = _unique(v for layer in layers for v in layer.trainable_variables)
        saved = _unique(v for layer in layers for v in layer.weights)
        everything = _unique(v for layer in layers for v in layer.variables)
        known, trainable = _ids(saved), _ids(self.weights)
        self.random = [v for v in everything if id(v) not in known]
        self.statistics = [v for v in saved if id(v) not in trainable]
        self.constants = [tf.convert_to_tensor(v.value) for v in self.statistics]

    def scope(self, weights, seed):
        """Returns a scope in which layers read `weights`, `constants` and noise from `seed`."""
        mapping = [
            *zip(self.weights, weights, strict=True),
            *zip(self.statistics, self.constants, strict=True),
        ]
        shard = batch_shard.current_shard()
        if self.random and shard is not None:
            seed = seeds.fold(seed, shard.first)  # Keras draws for the rows of this shard only.
        for index, state in enumerate(self.random):
            # Folded twice: Keras increments the state, which would reach the next generator's.
            stream = seeds.fold(seeds.fold(seed, ForwardStream.KERAS_LAYERS + index), 0)
            value = tf.bitcast(stream, tf.uint32)
            mapping.append((state, tf.cast(value, state.dtype)))
        return keras.StatelessScope(state_mapping=mapping, collect_losses=True)

    def effects(self, scope, weights):
        """Returns the `Effects` of the layers called inside `scope(weights, seed)`.

        They include new weights of layers that set their own weights in `call`
        (SpectralNormalization): without them, training and evaluation would use different weights.
        """
        mine = [*self.weights, *self.statistics]
        pairs = zip(mine, [*weights, *self.constants], strict=True)
        current = [(v, scope.get_current_value(v), old) for v, old in pairs]
        written = [(v, value) for v, value, old in current if value is not old]
        return Effects(written, list(scope.losses))


def _ids(variables):
    return {id(variable) for variable in variables}


class PureEncoder:
    """An encoder as a function x -> (the encoder's outputs, its `Effects`).

    Dropout masks are a function of the seed, so that training resumed from a checkpoint uses the
    same masks as uninterrupted training. The encoder's variables receive gradients as usual.

    >>> encoder = PureEncoder(keras.layers.Dropout(0.5))
    >>> first, second = (encoder(tf.ones([2, 8]), [0, 1], True)[0].numpy() for _ in range(2))
    >>> (first == second).all().item()
    True
    """

    def __init__(self, encoder: keras.layers.Layer) -> None:
        self._encoder = encoder

    def __call__(self, x: Nest, seed: Seed, training: bool = False) -> tuple[Nest, Effects]:
        state = _State([self._encoder])
        weights = [tf.convert_to_tensor(v.value) for v in state.weights]
        with state.scope(weights, seed) as scope:
            outputs = self._encoder(x, training=training)
        return outputs, state.effects(scope, weights)


class PureGenerator:
    """The generative model p(x, z) = p(z) p(x | z) as a pure function of `theta`.

    Args:
      decoder: a built `Decoder`.
      prior: a built `Prior`.
      family: the variational family.

    Create one per traced function: frozen weights and moving statistics are read by the constructor
    and are constants of all derivatives.

    `theta` is the dict returned by `theta()`: the trainable weights as tensors, and the result of
    the decoder's `prepare`, which all refinement steps share.

    >>> from tf_savae import networks, probability
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> prior, x = networks.StandardNormalPrior(2), tf.ones([5, 3])
    >>> decoder_is_built, prior_is_built = decoder(x, tf.zeros([5, 2])), prior.build()
    >>> generator = PureGenerator(decoder, prior, probability.DiagonalGaussian())
    >>> theta = generator.theta(x, [0, 1])
    >>> generator.terms([tf.zeros([5, 2]), tf.zeros([5, 2])], theta, [0, 2]).nll.shape.as_list()
    [5]
    """

    def __init__(self, decoder: Decoder, prior: Prior | None, family: Family | None) -> None:
        self.decoder = decoder
        # Both are None, and not used, for a decoder without latent variables.
        self.prior: Any = prior
        self.family: Any = family
        self._state = _State([decoder, prior])
        self._effects_of_prepare = Effects([], [])

    def theta(self, x: Nest, seed: Seed, training: bool = False) -> dict[str, Nest]:
        """Returns all that the ELBO depends on except lambda: weights as tensors, prepared x."""
        weights = [tf.convert_to_tensor(v.value) for v in self._state.weights]
        with self._state.scope(weights, seed) as scope:
            prepared = self.decoder.prepare(x, seed, training)
        self._effects_of_prepare = self._state.effects(scope, weights)
        return {"weights": weights, "prepared": prepared}

    def terms(self, parameters: Nest, theta: Nest, seed: Seed, training: bool = False) -> ElboTerms:
        """Returns the `ElboTerms` for one sample of z per example."""
        return self.terms_and_effects(parameters, theta, seed, training)[0]

    def terms_and_effects(
        self, parameters: Nest, theta: Nest, seed: Seed, training: bool = False
    ) -> tuple[ElboTerms, Effects]:
        """Returns (`ElboTerms`, `Effects` of decoder and prior, including `prepare`)."""
        draw, noise = seeds.split(seed, 2)
        with self._state.scope(theta["weights"], noise) as scope:
            terms = elbo_terms(
                lambda z: self._log_prob(theta, z, noise, training),
                self.family.distribution(parameters),
                self.prior.distribution(),
                draw,
            )
        return terms, self._effects(scope, theta)

    def samples_of_terms(
        self,
        parameters: Nest,
        theta: Nest,
        noises: Sequence[Seed],
        training: bool = False,
        antithetic: bool = False,
    ) -> ElboTerms:
        """Returns the `ElboTerms` of S samples of z for each example, [S, B] each.

        Sample s is the one that `terms` draws with `noises[s]`. All samples are evaluated together
        if the decoder supports it (`Decoder.log_prob_samples`).

        Args:
          parameters, theta, training: as for `terms`.
          noises: S seeds.
          antithetic: whether sample 2 i + 1 is sample 2 i reflected about the mean.
        """
        pairs = [seeds.split(noise, 2) for noise in noises]
        draws, noises = zip(*pairs, strict=True)
        with self._state.scope(theta["weights"], noises[0]):
            posterior, prior = self.family.distribution(parameters), self.prior.distribution()
            codes = draw_codes(self.family, posterior, draws, antithetic)
            kl = kl_of_codes(posterior, prior, codes)
            if self._joins(training):
                return ElboTerms(-self._log_probs(theta, codes, noises, training), kl)
        given = zip(codes, noises, strict=True)
        nll = [-self.log_likelihood(z, theta, noise, training) for z, noise in given]
        return ElboTerms(tf.stack(nll), kl)

    def _joins(self, training):
        """Returns whether one call may evaluate all samples: no layer has state that it changes."""
        stateless = not self._state.random and not (training and self._state.statistics)
        return stateless and joins_samples(self.decoder)

    def _log_probs(self, theta, codes, noises, training):
        codes, prepared = tf.stack(codes), theta["prepared"]
        values = self.decoder.log_prob_samples(prepared, codes, noises, training)
        if values.shape.rank != 2 or values.shape[0] != len(noises):
            raise ValueError(
                f"decoder.log_prob_samples: expected [{len(noises)}, B], a row for each sample, "
                f"got shape {values.shape.as_list()}."
            )
        return tf.cast(values, tf.float32) if values.dtype.size < 4 else values

    def kl(self, parameters: Nest, theta: Nest, seed: Seed) -> tf.Tensor:
        """Returns KL(q || p), [B] nats, with the sample that `terms` draws from this seed."""
        draw, noise = seeds.split(seed, 2)
        with self._state.scope(theta["weights"], noise):
            posterior = self.family.distribution(parameters)
            return kl_divergence(posterior, self.prior.distribution(), posterior.sample(seed=draw))

    def log_likelihood(
        self, z: tf.Tensor, theta: Nest, seed: Seed, training: bool = False
    ) -> tf.Tensor:
        """Returns log p(x | z), [B] nats."""
        with self._state.scope(theta["weights"], seed):
            return self._log_prob(theta, z, seed, training)

    def nll_and_effects(
        self, theta: Nest, seed: Seed, training: bool = False
    ) -> tuple[tf.Tensor, Effects]:
        """Returns (-log p(x), `Effects`) of a decoder without latent variables."""
        with self._state.scope(theta["weights"], seed) as scope:
            nll = -self._log_prob(theta, None, seed, training)
        return nll, self._effects(scope, theta)

    def _effects(self, scope, theta):
        return self._state.effects(scope, theta["weights"]) + self._effects_of_prepare

    def _log_prob(self, theta, z, seed, training):
        value = self.decoder.log_prob_prepared(theta["prepared"], z, seed=seed, training=training)
        value = validation.per_example("decoder.log_prob", value)
        return tf.cast(value, tf.float32) if value.dtype.size < 4 else value


def _unique(variables):
    found: dict = {}
    for variable in variables:
        found.setdefault(id(variable), variable)
    return list(found.values())
