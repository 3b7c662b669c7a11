"""Importance-weighted NLL of a dataset (Burda et al. 2016, https://arxiv.org/abs/1509.00519)."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.ground import checks, seeds

__all__ = ["importance_weighted_nll"]


def importance_weighted_nll(model, dataset, samples=500, steps=None, seed=0):
    """An estimate of -log p(x) for each example, from above in expectation.

    For a `SemiAmortizedVAE` the proposal is its refined posterior (steps=0: the encoder's); for
    an `AutoregressiveModel` the answer is exact and `samples` and `steps` mean nothing.

    Args:
      model: a compiled model.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      samples: S.
      steps: K; the refinement layer's own by default.
      seed: int; batch i draws its noise from (seed, i), so the answer is reproducible.

    Returns:
      float64 [N], nats, in the dataset's order.

    Raises:
      ValueError: `samples` is below 1.

    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "bernoulli")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([5, 3])).batch(2)
    >>> importance_weighted_nll(model, data, samples=3, steps=0).shape
    (5,)
    """
    checks.positive_int("samples", samples)
    run = _likelihood(model, samples, steps)
    parts = []
    for index, batch in enumerate(dataset):
        x, _, weights = keras.utils.unpack_x_y_sample_weight(batch)
        rows = slice(None) if weights is None else np.asarray(weights) > 0
        log_likelihood = run(x, seeds.fold(seed, index))
        parts.append(-np.asarray(log_likelihood, np.float64)[rows])
    return np.concatenate(parts)


def _likelihood(model, samples, steps):
    if hasattr(model, "refinement"):
        return lambda x, seed: model.log_likelihood(x, samples=samples, steps=steps, seed=seed)
    exact = tf.function(model.call, jit_compile=_jit(model), autograph=False)
    return lambda x, seed: exact(x)


def _jit(model):
    """XLA where the model was compiled for it."""
    return model.compiled and model.jit_compile is True
