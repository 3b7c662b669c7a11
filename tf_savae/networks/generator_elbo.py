"""The negative ELBO of a decoder and a prior, of one sample of z or averaged over several."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_savae.core.typing import Nest, Seed
from tf_savae.networks.functional import PureGenerator
from tf_savae.probability import ElboTerms

__all__ = ["GeneratorElbo"]


class GeneratorElbo:
    """The negative ELBO of a generator, with one sample of z or several, for `svi.refine`.

    Args:
      generator: `PureGenerator`.
      weigh: maps `ElboTerms` to the objective per example.
      training: whether dropout and similar layers are active.
      antithetic: whether several samples come in mirrored pairs.

    >>> import keras
    >>> from tf_savae import networks, probability
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> prior, x = networks.StandardNormalPrior(2), tf.ones([5, 3])
    >>> decoder_is_built, prior_is_built = decoder(x, tf.zeros([5, 2])), prior.build()
    >>> generator = PureGenerator(decoder, prior, probability.DiagonalGaussian())
    >>> elbo = GeneratorElbo(generator, antithetic=True)
    >>> parameters, theta = [tf.zeros([5, 2])] * 2, generator.theta(x, [0, 1])
    >>> elbo.average(parameters, theta, [[0, 1], [0, 2]]).shape.as_list()
    [5]
    """

    def __init__(
        self,
        generator: PureGenerator,
        weigh: Callable[[ElboTerms], tf.Tensor] = ElboTerms.weighted,
        training: bool = False,
        antithetic: bool = False,
    ) -> None:
        self._generator, self._weigh = generator, weigh
        self._training, self._antithetic = training, antithetic

    def __call__(self, parameters: Nest, theta: Nest, seed: Seed) -> tf.Tensor:
        """Returns the negative ELBO with one sample of z, [B] nats."""
        return self._weigh(self._generator.terms(parameters, theta, seed, self._training))

    def average(self, parameters: Nest, theta: Nest, noises: Sequence[Seed]) -> tf.Tensor:
        """Returns the average over one sample of z per seed, [B] nats."""
        settings = (self._training, self._antithetic)
        terms = self._generator.samples_of_terms(parameters, theta, noises, *settings)
        return tf.reduce_mean(self._weigh(terms), axis=0)
