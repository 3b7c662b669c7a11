"""VAE + SVI + KL (Hjelm et al. 2016, https://arxiv.org/abs/1511.06382).

The encoder is trained to propose what SVI found: KL(q(lambda_0) || q(lambda_K)) with lambda_K
constant; theta on the ELBO at lambda_K held constant. An example that falls back to lambda_0
teaches the encoder nothing.
"""

import tensorflow as tf

from tf_savae.probability import kl_divergence

__all__ = ["vae_svi_kl"]


def vae_svi_kl(problem):
    """Refined ELBO for theta plus the KL to the refined posterior for the encoder."""
    initial = problem.encode()
    refined, start = problem.refined(initial, adjoint="stop")
    amortized = problem.amortized_terms(initial, start)
    outcome = problem.outcome_at(refined, start=start, amortized=amortized)
    family = problem.generator.family
    proposal = family.distribution(initial)
    target = family.distribution(tf.nest.map_structure(tf.stop_gradient, refined))
    sample = proposal.sample(seed=problem.first_seed())
    return outcome._replace(loss=outcome.loss + kl_divergence(proposal, target, sample))
