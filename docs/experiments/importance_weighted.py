"""An importance-weighted bound at lambda_K in place of the ELBO, for refinement_study.py (iw=S).

-log (1/S) sum_s p(x | z_s) p(z_s) / q(z_s), z_s ~ q (Burda et al. 2016,
https://arxiv.org/abs/1509.00519), at the posterior that the objective trains theta on: the
encoder's for "vae", which gives the IWAE, or the refined one. Refinement itself still minimises the
negative ELBO.
"""

import math

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.objectives.lookup import SYSTEMS

__all__ = ["importance_weighted"]

_FIRST = 1000  # Noise streams that no refinement step uses.


def importance_weighted(objective, samples):
    """The objective of the name `objective`, trained on the bound of S = `samples`."""
    base = objective if isinstance(objective, type) else type(SYSTEMS[objective])

    class ImportanceWeighted(base):
        name = f"{base.name}_iw"

        def loss(self, batch):
            drawn = _Recorder(batch)
            outcome = super().loss(drawn)
            bound = _bound(batch, drawn.parameters, samples)
            return outcome._replace(loss=outcome.loss - outcome.end + bound)

    return ImportanceWeighted


class _Recorder:
    """A `BatchObjective` that records the parameters at which the bound is taken."""

    def __init__(self, batch):
        self._batch, self.parameters = batch, None

    def __getattr__(self, name):
        return getattr(self._batch, name)

    def outcome_at(self, parameters, **kwargs):
        self.parameters = parameters
        return self._batch.outcome_at(parameters, **kwargs)


def _bound(batch, parameters, samples):
    """[B] nats; the KL weight of the step multiplies the logarithm of the ratio p(z) / q(z).

    `probability.importance_weighted_log_likelihood` has no KL weight, and a while loop, which XLA
    cannot differentiate without a known number of iterations.
    """
    generator, theta = batch.generator, batch.theta
    posterior = generator.family.distribution(parameters)
    prior = generator.prior.distribution()
    weights = []
    for index in range(samples):
        draw, noise = seeds.split(seeds.fold(batch.final_seed(), _FIRST + index), 2)
        z = posterior.sample(seed=draw)
        ratio = prior.log_prob(z) - posterior.log_prob(z)
        likelihood = generator.log_likelihood(z, theta, noise, batch.training)
        weights.append(likelihood + batch.beta * ratio)
    return math.log(samples) - tf.reduce_logsumexp(tf.stack(weights), axis=0)
