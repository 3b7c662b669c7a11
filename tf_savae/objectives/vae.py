"""VAE (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114): the ELBO at lambda_0 trains all."""

__all__ = ["vae"]


def vae(problem):
    """The amortized ELBO; no refinement."""
    outcome = problem.outcome_at(problem.encode())
    return outcome._replace(amortized=outcome.terms)
