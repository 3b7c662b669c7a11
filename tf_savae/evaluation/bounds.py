"""Compute the ELBO of each example of a dataset, and its terms."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = ["Bounds", "evaluate_bounds"]


class Bounds(NamedTuple):
    """The ELBO terms of each example, in the dataset's order; nats, float64."""

    nll: Any  # [N]: -log p(x | z), one sample of z from the refined posterior
    kl: Any  # [N]
    amortized_nll: Any  # [N]: at lambda_0, with the same noise
    amortized_kl: Any  # [N]
    mean: Any  # [N, Z]: of the refined posterior
    parameters: Any = None  # nest of [N, ...]: lambda_K, the refined posterior itself

    @property
    def bound(self) -> np.ndarray:
        """The negative ELBO, [N]."""
        return self.nll + self.kl

    @property
    def amortized_bound(self) -> np.ndarray:
        """The negative ELBO at lambda_0, [N]."""
        return self.amortized_nll + self.amortized_kl


def evaluate_bounds(
    model: keras.Model,
    dataset: tf.data.Dataset,
    steps: int | None = None,
    seed: int = 0,
    label: str | None = None,
) -> Bounds:
    """Computes the `Bounds` of a `SemiAmortizedVAE` on a dataset, KL weight 1, dropout off.

    Args:
      model: a compiled `tf_savae.SemiAmortizedVAE`.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      steps: K; the model's own by default (0 for a plain VAE).
      seed: int; batch i draws its noise from (seed, i), so the result is reproducible.
      label: text beside a progress bar; None shows no bar.

    >>> import keras
    >>> import tensorflow as tf
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([5, 3])).batch(2)
    >>> evaluate_bounds(model, data, steps=1).bound.shape
    (5,)
    """

    def terms(x, seed):
        batch_objective = model.batch_objective(x, seed, steps=steps)
        initial = batch_objective.encode()
        refined, _ = batch_objective.refined(initial, adjoint="stop")
        final = batch_objective.outcome_at(refined).terms
        first = batch_objective.outcome_at(initial).terms
        mean = posterior_mean(model.family.distribution(refined))
        return Bounds(final.nll, final.kl, first.nll, first.kl, mean, refined)

    def shown(part):
        return {"bound": float(part.bound.mean())}

    run = compiled_for(model, terms, ("bounds", steps))
    return one_pass(run, dataset, seed, model=model, label=label, shows=shown)
