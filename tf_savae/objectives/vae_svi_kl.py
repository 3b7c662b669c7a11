"""VAE + SVI + KL (Hjelm et al. 2016, https://arxiv.org/abs/1511.06382).

The encoder is trained to propose what SVI found: KL(q(lambda_0) || q(lambda_K)) with lambda_K
constant; theta on the ELBO at lambda_K held constant. An example that falls back to lambda_0
teaches the encoder nothing.
"""

import tensorflow as tf

from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import Objective
from tf_savae.probability import kl_divergence

__all__ = ["VAESVIKL"]


class VAESVIKL(Objective):
    """Refined ELBO for theta plus the KL to the refined posterior for the encoder."""

    name = "vae_svi_kl"
    needs_steps = True

    def loss(self, batch: BatchObjective) -> Outcome:
        """The `Outcome` at lambda_K, a constant; its loss has the KL on top."""
        initial = batch.encode()
        refined, start = batch.refined(initial, adjoint="stop")
        amortized = batch.amortized_terms(initial, start)
        outcome = batch.outcome_at(refined, start=start, amortized=amortized)
        family = batch.generator.family
        proposal = family.distribution(initial)
        target = family.distribution(tf.nest.map_structure(tf.stop_gradient, refined))
        sample = proposal.sample(seed=batch.first_seed())
        return outcome._replace(loss=outcome.loss + kl_divergence(proposal, target, sample))
