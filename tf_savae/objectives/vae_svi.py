"""VAE + SVI (Krishnan et al. 2018, https://arxiv.org/abs/1710.06085).

The encoder is trained on the ELBO at lambda_0, whose gradient step 0 of the refinement takes
anyway; theta on the ELBO at lambda_K held constant.
"""

__all__ = ["vae_svi"]


def vae_svi(problem):
    """Refined ELBO for theta plus amortized ELBO for the encoder."""
    initial = problem.encode()
    refined, start = problem.refined(initial, adjoint="stop")
    amortized = problem.amortized_terms(initial, start)
    outcome = problem.outcome_at(refined, start=start, amortized=amortized)
    if start is None:  # K = 0.
        outcome = outcome._replace(amortized=outcome.terms)
    loss = outcome.loss + problem.amortized_objective(initial, start)
    return outcome._replace(loss=loss)
