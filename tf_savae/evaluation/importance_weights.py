"""Importance weights of posterior samples, and the estimate of log p(x) from them.

Burda et al. (2016), https://arxiv.org/abs/1509.00519.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest, TensorLike
from tf_savae.models.compilation.trace_cache import compiled_for

__all__ = ["ImportanceWeighting", "log_weights_function", "weighting_of"]


class ImportanceWeighting(NamedTuple):
    """Importance-weighted NLL of each example, in the dataset's order; nats, float64."""

    nll: Any  # [N]: -log of the mean weight
    effective_samples: Any  # [N]: (sum w)^2 / sum w^2, from 1 to S
    spread: Any  # [N]: Monte-Carlo standard deviation of nll, by the delta method

    @property
    def mean(self) -> float:
        """Mean NLL over the examples."""
        return float(self.nll.mean())

    @property
    def standard_error(self) -> float | None:
        """Standard error of `mean` due to the choice of examples; None for one example."""
        count = len(self.nll)
        return float(self.nll.std(ddof=1) / np.sqrt(count)) if count > 1 else None

    @property
    def monte_carlo_error(self) -> float:
        """Standard error of `mean` due to the sampling of z, for the given examples."""
        return float(np.sqrt(np.sum(np.square(self.spread))) / len(self.nll))


def log_weights_function(
    model: keras.Model, samples: int, chunk: int = 1
) -> Callable[[Nest, Nest, tf.Tensor], tf.Tensor]:
    """Returns a compiled function (x, parameters, seed) -> log weights [S, B], float64 nats.

    Only `chunk` of the S samples are in memory at once.
    """
    rounds = -(-samples // chunk)
    chunk = -(-samples // rounds)  # The smallest chunk for this number of rounds.

    def weights(x, parameters, seed):
        wide = _Wide(model, x, parameters, chunk)
        batch = tf.nest.flatten(x)[0].shape[0]
        array = tf.TensorArray(tf.float64, rounds, element_shape=[chunk, batch])

        def body(index, array):
            return index + 1, array.write(index, wide.log_weights(seeds.fold(seed, index)))

        _, array = tf.while_loop(
            lambda index, _: index < rounds,
            body,
            (tf.constant(0), array),
            parallel_iterations=1,
            maximum_iterations=rounds,
        )
        return tf.reshape(array.stack(), [rounds * chunk, batch])[:samples]

    return compiled_for(model, weights, ("log_weights", samples, chunk))


class _Wide:
    """A batch with each example repeated `chunk` times, to draw that many samples at once."""

    def __init__(self, model, x, parameters, chunk):
        def repeat(tensor):
            return tensor if chunk == 1 else tf.repeat(tensor, chunk, axis=0)

        x, parameters = (tf.nest.map_structure(repeat, part) for part in (x, parameters))
        self._batch_objective = model.batch_objective(x, seeds.as_seed(0), steps=0)
        self._posterior = model.family.distribution(parameters)
        self._prior = model.prior.distribution()
        self._chunk = chunk

    def log_weights(self, seed):
        """Returns the log weights of one chunk of samples, [chunk, B], float64 nats."""
        draw, noise = seeds.split(seed, 2)
        z = self._posterior.sample(seed=draw)
        ratio = self._prior.log_prob(z) - self._posterior.log_prob(z)
        batch_objective = self._batch_objective
        likelihood = batch_objective.generator.log_likelihood(z, batch_objective.theta, noise)
        rows = tf.cast(likelihood, tf.float64) + tf.cast(ratio, tf.float64)
        return tf.transpose(tf.reshape(rows, [-1, self._chunk]))


def weighting_of(log_weights: TensorLike) -> ImportanceWeighting:
    """Returns the `ImportanceWeighting` of one batch from its log weights [S, B], float64 nats."""
    log_weights = np.asarray(log_weights)
    count = len(log_weights)
    largest = log_weights.max(axis=0)
    # If all weights are 0 (log -inf), their differences would be NaN.
    shift = np.where(np.isneginf(largest), 0.0, largest)
    scaled = np.exp(log_weights - shift)
    total = scaled.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.nan_to_num(np.square(total) / np.square(scaled).sum(axis=0), nan=0.0)
        variance = np.maximum(count / effective - 1.0, 0.0) / max(count - 1, 1)
        nll = -(shift + np.log(total / count))
    spread = np.sqrt(variance) if count > 1 else np.full_like(largest, np.nan)
    return ImportanceWeighting(nll, effective, spread)
