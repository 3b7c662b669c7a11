"""SA-VAE (Kim et al. 2018, https://arxiv.org/abs/1802.02550): end to end through refinement.

Theta and the encoder receive the total derivative of the ELBO at lambda_K; the encoder also
`amortized_weight` times the gradient of the ELBO at lambda_0, with theta held constant.
"""

import tensorflow as tf

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective

__all__ = ["SAVAE"]


class SAVAE(Objective):
    """The ELBO at parameters refined from the encoder's, differentiated through the K steps."""

    name = "savae"
    crosses_refinement = True
    amortized_weight = 0.3  # Where nothing else is said: docs/results.md.

    def loss(self, batch: BatchObjective) -> Outcome:
        """The `Outcome` at lambda_K.

        Where lambda_0 is all there is (K = 0, or an example that fell back to it), the amortized
        term, a part of the loss already, is left out.
        """
        initial = batch.encode()
        refined, start = batch.refined(initial)
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        if start is None:
            return outcome._replace(amortized=outcome.terms)
        if batch.amortized_weight:
            extra = batch.amortized_weight * batch.amortized_objective(initial, start)
            if start.fell_back is not None:
                extra = tf.where(start.fell_back, tf.zeros_like(extra), extra)
            outcome = outcome._replace(loss=outcome.loss + extra)
        return outcome
