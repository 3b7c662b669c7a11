"""Mutual information I(x; z) between data and latent variables, under the encoder.

Estimated from the aggregate posterior (Hoffman & Johnson 2016, "ELBO surgery"; used for text by
He et al. 2019, https://arxiv.org/abs/1901.05534). Let p(x) be the data's distribution and
q(z) = E_p(x)[q(z | x)] the aggregate posterior. Then

    I(x; z) = E_p(x) E_q(z|x) [log q(z | x) - log q(z)]
    E_p(x) KL(q(z | x) || p(z)) = I(x; z) + KL(q(z) || p(z)).

q(z) is an integral over the data distribution. The estimator replaces it by the average over the N
given examples, each example included in its own average, and draws z_n ~ q(z | x_n):

    I_N = 1/N sum_n [ log q(z_n | x_n) - log 1/N sum_m q(z_n | x_m) ].

Cap: the inner sum contains q(z_n | x_n) / N, so neither a term nor the average exceeds log N.

Bias: with q_N(z) = 1/N sum_m q(z | x_m), the aggregate posterior of the sample,

    E[I_N] = I(x; z) + E[log q(z_1) - log q_N(z_1)],    z_1 ~ q(z | x_1),
           = I(x; z) - E KL(q_N || q),

because the x_m are exchangeable: given all of them, z_n for a random n has the density q_N. So the
estimate is biased low, by the KL divergence of the sample's aggregate posterior from the
population's (InfoNCE with the optimal critic, Poole et al. 2019,
https://arxiv.org/abs/1905.06922). It needs N well above exp(I): an estimate near log N is only an
approximate lower bound. If the N examples are the whole population, q is q_N, and the estimate is
unbiased.

Noise: unlike I, a single estimate I_N can be negative. If z is almost independent of x, the terms
vary around 0.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae.core import seeds, validation
from tf_savae.core.typing import Nest
from tf_savae.probability import Family

__all__ = ["MutualInformation", "mutual_information"]

_AT_ONCE = 2**22  # Elements of the largest tensor: 32 MiB of float64.


class MutualInformation(NamedTuple):
    """An estimate of the mutual information I(x; z), in nats."""

    estimate: float  # I_N; at most `cap`
    standard_error: Any  # standard error of the estimate over examples
    cap: float  # log N

    @property
    def saturated(self) -> bool:
        """Whether the estimate is above 90% of `cap`, so that I(x; z) may be much larger."""
        return self.estimate > 0.9 * self.cap


def mutual_information(
    family: Family, parameters: Nest, samples: int = 1, seed: int = 0
) -> MutualInformation:
    """Estimates I(x; z) from the posteriors of N examples.

    The module's docstring derives the estimator. Time grows with samples * N^2 * Z; memory does
    not grow with N^2.

    Args:
      family: a `tf_savae.Family`.
      parameters: its nest of arrays [N, ...], such as `Bounds.parameters`, N >= 2.
      samples: samples of z from each posterior.
      seed: int.

    Returns:
      A `MutualInformation`. A negative or saturated estimate is logged as a warning.

    Raises:
      ValueError: fewer than 2 examples, NaN, or `samples` below 1.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> means = np.array([[-100.0], [100.0]])
    >>> apart = mutual_information(DiagonalGaussian(), (means, np.zeros([2, 1])))
    >>> round(apart.estimate, 6), round(apart.cap, 6), apart.saturated
    (0.693147, 0.693147, True)
    """
    validation.positive_int("samples", samples)
    parameters = _checked(parameters)
    count = len(tf.nest.flatten(parameters)[0])
    posterior = family.distribution(parameters)
    ratios = np.zeros(count)
    for index in range(samples):
        z = posterior.sample(seed=seeds.fold(seeds.as_seed(seed), index))
        own = posterior.log_prob(z).numpy()
        ratios += (own - _log_aggregate(posterior, z, count)) / samples
    error = float(ratios.std(ddof=1) / math.sqrt(count))
    found = MutualInformation(float(ratios.mean()), error, math.log(count))
    _warn(found, count)
    return found


def _checked(parameters):
    arrays = [np.asarray(p, np.float64) for p in tf.nest.flatten(parameters)]
    if any(array.ndim < 1 or len(array) < 2 for array in arrays):
        raise ValueError(
            "parameters: expected posteriors of at least 2 examples, got shapes "
            f"{[list(array.shape) for array in arrays]}."
        )
    for array in arrays:
        validation.finite("parameters", array, "The posterior is not finite: check the training.")
    return tf.nest.pack_sequence_as(parameters, [tf.constant(array) for array in arrays])


def _log_aggregate(posterior, z, count):
    """Returns log 1/N sum_m q(z_n | x_m), [N], from a few rows of the [N, N] matrix at a time."""
    rows = max(1, _AT_ONCE // (count * z.shape[1]))
    parts = [
        tf.reduce_logsumexp(posterior.log_prob(z[start : start + rows, None, :]), axis=1)
        for start in range(0, count, rows)
    ]
    return np.concatenate([part.numpy() for part in parts]) - math.log(count)


def _warn(found, count):
    if found.estimate < 0:
        logging.warning(
            "the mutual information is estimated as %.4g nats (standard error %.2g), below 0, "
            "the least possible value: z is almost independent of x. Read it as 0, or use more "
            "samples.",
            found.estimate,
            found.standard_error,
        )
    elif found.saturated:
        logging.warning(
            "the mutual information is estimated as %.4g nats of at most log %d = %.4g: the true "
            "value may be much larger. Use more examples.",
            found.estimate,
            count,
            found.cap,
        )
