"""A Keras decoder and prior as one pure function of tensors.

Weights, random state and moving statistics are arguments: the same call with the same arguments
gives the same numbers, so the backward pass of refinement replays dropout masks exactly.
"""

import keras
import tensorflow as tf

from tf_savae.ground import seeds
from tf_savae.probability import elbo_terms

__all__ = ["PureGenerator"]


class PureGenerator:
    """p(x, z) = p(z) p(x | z) of a built decoder and prior, as a function of `theta`.

    Args:
      decoder: a built `Decoder`.
      prior: a built `Prior`.
      family: the variational family.

    Make one per traced function: frozen weights and moving statistics are read here, once, and are
    constants of every derivative.

    `theta` is the dict that `theta()` makes: the trainable weights as tensors, and what the
    decoder prepares from x once for all refinement steps.
    """

    def __init__(self, decoder, prior, family):
        self.decoder, self.prior, self.family = decoder, prior, family
        layers = [layer for layer in (decoder, prior) if layer is not None]
        self._weights = _unique(v for layer in layers for v in layer.trainable_variables)
        known = {id(v) for layer in layers for v in layer.weights}
        everything = _unique(v for layer in layers for v in layer.variables)
        self._random_states = [v for v in everything if id(v) not in known]
        trainable = {id(v) for v in self._weights}
        self._statistics = [
            v for v in everything if id(v) in known and id(v) not in trainable
        ]
        self._constants = [tf.convert_to_tensor(v.value) for v in self._statistics]

    def theta(self, x, seed, training=False):
        """Weights as tensors and the prepared x: everything the ELBO depends on but lambda."""
        weights = [tf.convert_to_tensor(v.value) for v in self._weights]
        with self._scope(weights, seed):
            prepared = self.decoder.prepare(x, seed, training)
        return {"weights": weights, "prepared": prepared}

    def terms(self, parameters, theta, seed, training=False):
        """`ElboTerms` for one sample of z per example."""
        return self.terms_and_statistics(parameters, theta, seed, training)[0]

    def terms_and_statistics(self, parameters, theta, seed, training=False):
        """Also the new values of moving statistics, as pairs (variable, tensor)."""
        draw, noise = seeds.split(seed, 2)
        with self._scope(theta["weights"], noise) as scope:
            posterior = self.family.distribution(parameters)
            terms = elbo_terms(
                lambda z: self._log_prob(theta, z, noise, training),
                posterior,
                self.prior.distribution(),
                draw,
            )
        return terms, self._updates(scope)

    def log_likelihood(self, z, theta, seed, training=False):
        """log p(x | z), [B] nats."""
        with self._scope(theta["weights"], seed):
            return self._log_prob(theta, z, seed, training)

    def nll_and_statistics(self, theta, seed, training=False):
        """-log p(x) of a decoder without a latent code, and new moving statistics."""
        with self._scope(theta["weights"], seed) as scope:
            nll = -self._log_prob(theta, None, seed, training)
        return nll, self._updates(scope)

    def _log_prob(self, theta, z, seed, training):
        value = self.decoder.log_prob_prepared(theta["prepared"], z, seed=seed, training=training)
        value = tf.convert_to_tensor(value)
        return tf.cast(value, tf.float32) if value.dtype.size < 4 else value

    def _updates(self, scope):
        pairs = zip(self._statistics, self._constants, strict=True)
        current = [(v, scope.get_current_value(v), old) for v, old in pairs]
        return [(v, value) for v, value, old in current if value is not old]

    def _scope(self, weights, seed):
        mapping = [
            *zip(self._weights, weights, strict=True),
            *zip(self._statistics, self._constants, strict=True),
        ]
        for index, state in enumerate(self._random_states):
            value = tf.bitcast(seeds.fold(seed, 1000 + index), tf.uint32)
            mapping.append((state, tf.cast(value, state.dtype)))
        return keras.StatelessScope(state_mapping=mapping)


def _unique(variables):
    found = {}
    for variable in variables:
        found.setdefault(id(variable), variable)
    return list(found.values())
