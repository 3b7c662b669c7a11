"""The baseline without a latent code: a plain autoregressive model's negative log-likelihood."""

import tensorflow as tf

from tf_savae.objectives.batch_objective import Outcome
from tf_savae.probability import ElboTerms

__all__ = ["autoregressive"]


def autoregressive(problem):
    """-log p(x); the KL is zero."""
    nll, effects = problem.generator.nll_and_effects(
        problem.theta, problem.final_seed(), problem.training
    )
    terms = ElboTerms(nll, tf.zeros_like(nll))
    return Outcome(nll, terms, None, effects, None, None)
