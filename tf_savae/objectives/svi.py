"""SVI (Hoffman et al. 2013, https://arxiv.org/abs/1206.7055): K steps from the prior, no encoder.

The initial posterior is N(0, I), which is the prior unless the model has another one.
Theta is trained on the ELBO at lambda_K, with lambda_K held constant.
"""

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective

__all__ = ["SVI"]


class SVI(Objective):
    """The ELBO at lambda_K, refined from the prior."""

    name = "svi"
    uses_encoder = False

    def loss(self, batch: BatchObjective) -> Outcome:
        """Returns the `Outcome` at lambda_K, which is held constant."""
        refined, start = batch.refined(batch.prior_parameters(), adjoint="stop")
        return batch.outcome_at(refined, start=start)
