"""SA-VAE (Kim et al. 2018, https://arxiv.org/abs/1802.02550): trained end to end.

Theta and the encoder receive the total derivative of the ELBO at lambda_K, through refinement. The
encoder also receives `amortized_weight` times the gradient of the ELBO at lambda_0, with theta held
constant there. With `path_weight`, the ELBOs between are added, as in Marino et al. (2018).
"""

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective

__all__ = ["SAVAE"]


class SAVAE(Objective):
    """The ELBO at lambda_K, differentiated through the K refinement steps from lambda_0."""

    name = "savae"
    crosses_refinement = True
    amortized_weight = 0.3  # Chosen by experiment: docs/results.md.
    path_weight = 0.0

    def loss(self, batch: BatchObjective) -> Outcome:
        """Returns the `Outcome` at lambda_K.

        For K = 0, and for examples that fell back to lambda_0, the loss is already the ELBO at
        lambda_0, so the amortized term is not added.
        """
        initial = batch.encode()
        refined, start = batch.refined(initial)
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        if start is None:
            return outcome._replace(amortized=outcome.terms)
        if batch.amortized_weight:
            extra = batch.amortized_weight * batch.amortized_objective(initial, start)
            outcome = outcome._replace(loss=outcome.loss + start.where_refined(extra))
        return batch.with_path(outcome, start)
