"""Importance-weighted NLL of a dataset (Burda et al. 2016, https://arxiv.org/abs/1509.00519)."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.evaluation.importance_weights import (
    ImportanceWeighting,
    log_weights_function,
    weighting_of,
)
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.objectives.lookup import has_latent

__all__ = ["ImportanceWeighting", "importance_weighted_nll", "importance_weighting"]


def importance_weighting(
    model: keras.Model,
    dataset: tf.data.Dataset,
    samples: int = 500,
    steps: int | None = None,
    seed: int = 0,
    *,
    chunk: int = 1,
    label: str | None = None,
) -> ImportanceWeighting:
    """Estimates -log p(x) of each example by importance weighting, with its accuracy.

    The estimate is -log (1/S) sum_s w_s with w_s = p(x | z_s) p(z_s) / q(z_s), z_s ~ q. Its
    expectation is an upper bound on -log p(x) that is tight as S grows. `spread` is
    sqrt((S / effective_samples - 1) / (S - 1)), the standard deviation of log mean w by the delta
    method; the bias is about spread^2 / 2, upward. If only few samples are effective, q misses a
    part of the posterior, and both are underestimated.

    Args:
      model: a compiled `SemiAmortizedVAE`, or an `AutoregressiveModel`, whose result is exact.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      samples: S.
      steps: K refinement steps for q; 0 uses the encoder's posterior, None the model's own K.
      seed: int; batch i draws its noise from (seed, i), so the result is reproducible.
      chunk: samples evaluated at once. Memory grows with chunk times B and not with S.
      label: text beside a progress bar; None shows no bar.

    Raises:
      ValueError: `samples` or `chunk` is below 1.

    >>> import keras
    >>> import tensorflow as tf
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([5, 3])).batch(2)
    >>> importance_weighting(model, data, samples=3, steps=0).effective_samples.shape
    (5,)
    """
    validation.positive_int("samples", samples)
    validation.positive_int("chunk", chunk)
    if not has_latent(model):
        exact = compiled_for(model, model.call, ("call",))
        return _exact(one_pass(lambda x, seed: exact(x), dataset, seed, model=model, label=label))
    infer = compiled_for(
        model, lambda x, seed: model.refined_parameters(x, steps, seed), ("refined", steps)
    )
    weights = log_weights_function(model, samples, chunk)

    def statistics(x, seed):
        first, second = seeds.split(seed, 2)
        return weighting_of(weights(x, infer(x, first), second))

    def shown(part):
        return {"nll": float(part.nll.mean())}

    return one_pass(statistics, dataset, seed, model=model, label=label, shows=shown)


def importance_weighted_nll(
    model: keras.Model,
    dataset: tf.data.Dataset,
    samples: int = 500,
    steps: int | None = None,
    seed: int = 0,
    chunk: int = 1,
) -> np.ndarray:
    """Returns the `nll` of `importance_weighting`, float64 [N] in nats.

    Arguments and errors are those of `importance_weighting`.

    >>> import keras
    >>> import tensorflow as tf
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([5, 3])).batch(2)
    >>> importance_weighted_nll(model, data, samples=3, steps=0).shape
    (5,)
    """
    return importance_weighting(model, dataset, samples, steps, seed, chunk=chunk).nll


def _exact(log_likelihood):
    nothing = np.full_like(log_likelihood, np.nan)
    return ImportanceWeighting(-log_likelihood, nothing, np.zeros_like(log_likelihood))
