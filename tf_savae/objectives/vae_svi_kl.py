"""VAE + SVI + KL (Hjelm et al. 2016, https://arxiv.org/abs/1511.06382).

The encoder is trained on KL(q(lambda_0) || q(lambda_K)), and theta on the ELBO at lambda_K, both
with lambda_K held constant. An example that falls back to lambda_0 gives the encoder no gradient.
"""

import tensorflow as tf

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective
from tf_savae.probability import kl_divergence

__all__ = ["VAESVIKL"]


class VAESVIKL(Objective):
    """The ELBO at lambda_K for theta plus the KL to the refined posterior for the encoder."""

    name = "vae_svi_kl"
    needs_steps = True

    def loss(self, batch: BatchObjective) -> Outcome:
        """Returns the `Outcome` at lambda_K, held constant; its loss adds the KL."""
        initial = batch.encode()
        refined, start = batch.refined(initial, adjoint="stop")
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        family = batch.generator.family
        proposal = family.distribution(initial)
        target = family.distribution(tf.nest.map_structure(tf.stop_gradient, refined))
        sample = proposal.sample(seed=batch.first_seed())
        return outcome._replace(loss=outcome.loss + kl_divergence(proposal, target, sample))
