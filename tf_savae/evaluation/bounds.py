"""The terms of the bound for each example of a dataset."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.ground import seeds

__all__ = ["Bounds", "evaluate_bounds"]


class Bounds(NamedTuple):
    """One entry per example, in the dataset's order; nats, float64."""

    nll: Any  # [N]: -log p(x | z), one sample of z from the refined posterior
    kl: Any  # [N]
    amortized_nll: Any  # [N]: at lambda_0, with the same noise
    amortized_kl: Any  # [N]
    mean: Any  # [N, Z]: of the refined posterior

    @property
    def bound(self):
        """The negative ELBO, [N]."""
        return self.nll + self.kl

    @property
    def amortized_bound(self):
        """The negative ELBO of the encoder's own posterior, [N]."""
        return self.amortized_nll + self.amortized_kl


def evaluate_bounds(model, dataset, steps=None, seed=0):
    """The bound of a `SemiAmortizedVAE` on a dataset, KL weight 1, dropout off.

    Args:
      model: a compiled `tf_savae.SemiAmortizedVAE`.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      steps: K; the refinement layer's own by default.
      seed: int; batch i draws its noise from (seed, i), so the answer is reproducible.

    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([5, 3])).batch(2)
    >>> evaluate_bounds(model, data, steps=1).bound.shape
    (5,)
    """

    def terms(x, seed):
        problem = model.problem(x, seed, steps=steps)
        initial = problem.encode()
        refined, _ = problem.refined(initial, adjoint="stop")
        final = problem.outcome_at(refined).terms
        first = problem.outcome_at(initial).terms
        mean = model.family.distribution(refined).mean()
        return Bounds(final.nll, final.kl, first.nll, first.kl, mean)

    run = tf.function(terms, jit_compile=_jit(model), autograph=False)
    parts = []
    for index, batch in enumerate(dataset):
        x, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        rows = slice(None) if weights is None else np.asarray(weights) > 0
        answer = run(x, seeds.fold(seed, index))
        parts.append([np.asarray(part, np.float64)[rows] for part in answer])
    return Bounds(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _jit(model):
    """XLA where the model was compiled for it."""
    return model.compiled and model.jit_compile is True
