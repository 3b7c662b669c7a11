"""SA-VAE (Kim et al. 2018, https://arxiv.org/abs/1802.02550): end to end through refinement.

Theta and the encoder receive the total derivative of the ELBO at lambda_K.
"""

__all__ = ["savae"]


def savae(problem):
    """The ELBO at parameters refined from the encoder's, differentiated through the K steps."""
    initial = problem.encode()
    refined, start = problem.refined(initial)
    amortized = problem.amortized_terms(initial, start)
    return problem.outcome_at(refined, start=start, amortized=amortized)
