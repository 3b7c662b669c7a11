"""SVI (Hoffman et al. 2013, https://arxiv.org/abs/1206.7055): K steps from the prior, no encoder.

The start is N(0, I), the prior unless the model was given another one.
Theta is trained on the ELBO at lambda_K, which is held constant.
"""

__all__ = ["svi"]


def svi(problem):
    """The ELBO at parameters refined from the prior."""
    refined, start = problem.refined(problem.prior_parameters(), adjoint="stop")
    return problem.outcome_at(refined, start=start)
