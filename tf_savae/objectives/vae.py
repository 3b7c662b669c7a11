"""VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114): the ELBO at lambda_0."""

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective

__all__ = ["VAE"]


class VAE(Objective):
    """The ELBO at lambda_0, without refinement; it trains the encoder and the decoder."""

    name = "vae"
    refines = False

    def loss(self, batch: BatchObjective) -> Outcome:
        """Returns the `Outcome` at lambda_0, the encoder's parameters."""
        outcome = batch.outcome_at(batch.encode())
        return outcome._replace(amortized=outcome.terms)
