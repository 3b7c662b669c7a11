"""Objective of the baseline without latent variables: the negative log-likelihood."""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.objectives.batch_objective import Outcome
from tf_savae.objectives.objective import Objective
from tf_savae.probability import ElboTerms

__all__ = ["Autoregressive", "LikelihoodBatch"]


class LikelihoodBatch(NamedTuple):
    """One batch of a model without latent variables."""

    generator: Any  # `PureGenerator` without prior and family.
    theta: Any  # The result of `generator.theta` for this batch.
    seed: Any  # Stateless seed [2] for dropout.
    training: bool


class Autoregressive(Objective):
    """The exact negative log-likelihood -log p(x), for `AutoregressiveModel`.

    There is no bound, no encoder and no refinement.
    """

    name = "autoregressive"
    latent = False
    uses_encoder = False
    refines = False

    def loss(self, batch: LikelihoodBatch) -> Outcome:
        """Returns the `Outcome` of a `LikelihoodBatch`; its KL is zero."""
        nll, effects = batch.generator.nll_and_effects(batch.theta, batch.seed, batch.training)
        terms = ElboTerms(nll, tf.zeros_like(nll))
        return Outcome(nll, terms, None, effects, None, None)
