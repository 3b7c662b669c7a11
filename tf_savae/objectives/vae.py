"""VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114): the ELBO at lambda_0 trains all."""

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective

__all__ = ["VAE"]


class VAE(Objective):
    """The amortized ELBO; no refinement."""

    name = "vae"
    refines = False

    def loss(self, batch: BatchObjective) -> Outcome:
        """The `Outcome` at the encoder's parameters."""
        outcome = batch.outcome_at(batch.encode())
        return outcome._replace(amortized=outcome.terms)
