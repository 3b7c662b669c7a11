"""VAE + SVI (Krishnan et al. 2018, https://arxiv.org/abs/1710.06085).

The encoder is trained on the ELBO at lambda_0, whose gradient refinement step 0 computes anyway.
Theta is trained on the ELBO at lambda_K, with lambda_K held constant.
"""

import tensorflow as tf

from tf_savae.core.typing import Nest
from tf_savae.objectives.batch_objective import BatchObjective, Outcome, RefinementInfo
from tf_savae.objectives.objective import Objective

__all__ = ["VAESVI"]


class VAESVI(Objective):
    """The ELBO at lambda_K for theta plus the ELBO at lambda_0 for the encoder."""

    name = "vae_svi"

    def loss(self, batch: BatchObjective) -> Outcome:
        """Returns the `Outcome` at lambda_K; its loss adds the ELBO at lambda_0."""
        initial = batch.encode()
        refined, start = self.refined(batch, initial)
        if start is None:  # K = 0: both ELBOs are the same, one pass gives both gradients.
            outcome = batch.outcome_at(initial)
            loss = outcome.loss + tf.stop_gradient(outcome.loss)
            return outcome._replace(loss=loss, amortized=outcome.terms)
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        loss = outcome.loss + batch.amortized_objective(initial, start)
        return batch.with_path(outcome._replace(loss=loss), start)

    def refined(self, batch: BatchObjective, initial: Nest) -> tuple[Nest, RefinementInfo | None]:
        """Returns (lambda_K, held constant; `RefinementInfo`, or None for K = 0)."""
        return batch.refined(initial, adjoint="stop")
