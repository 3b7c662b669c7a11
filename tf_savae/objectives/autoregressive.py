"""The baseline without a latent code: a plain autoregressive model's negative log-likelihood."""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.objectives.batch_objective import Outcome
from tf_savae.objectives.objective import Objective
from tf_savae.probability import ElboTerms

__all__ = ["Autoregressive", "LikelihoodBatch"]


class LikelihoodBatch(NamedTuple):
    """One batch of a model without a latent code."""

    generator: Any  # `PureGenerator` without prior and family.
    theta: Any  # What `generator.theta` returned for this batch.
    seed: Any  # Stateless seed [2], of dropout.
    training: bool


class Autoregressive(Objective):
    """-log p(x) itself: no bound, no encoder, no refinement. For `AutoregressiveModel`."""

    name = "autoregressive"
    latent = False
    uses_encoder = False
    refines = False

    def loss(self, batch: LikelihoodBatch) -> Outcome:
        """The `Outcome` of a `LikelihoodBatch`; the KL is zero."""
        nll, effects = batch.generator.nll_and_effects(batch.theta, batch.seed, batch.training)
        terms = ElboTerms(nll, tf.zeros_like(nll))
        return Outcome(nll, terms, None, effects, None, None)
