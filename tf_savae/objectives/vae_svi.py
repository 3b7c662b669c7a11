"""VAE + SVI (Krishnan et al. 2018, https://arxiv.org/abs/1710.06085).

The encoder is trained on the ELBO at lambda_0, theta on the ELBO at lambda_K held constant.
"""

from tf_savae.objectives.problem import at_constant_weights

__all__ = ["vae_svi"]


def vae_svi(problem):
    """Refined ELBO for theta plus amortized ELBO for the encoder."""
    initial = problem.encode()
    refined, start = problem.refined(initial, adjoint="stop")
    outcome = problem.outcome_at(refined, start=start)
    fixed = at_constant_weights(problem.theta)
    amortized = problem.generator.terms(initial, fixed, problem.first_seed(), problem.training)
    loss = outcome.loss + problem.weigh(amortized)
    return outcome._replace(loss=loss, amortized=amortized)
