"""Variational families, ELBO terms, KL weights."""

from tf_savae.probability.elbo import ElboTerms, elbo_terms, kl_divergence
from tf_savae.probability.families import (
    DiagonalGaussian,
    Family,
    FullCovarianceGaussian,
    as_family,
    standard_normal,
)
from tf_savae.probability.importance import importance_weighted_log_likelihood
from tf_savae.probability.kl_weight import CyclicalKLWeight, as_kl_weight, linear_kl_weight

__all__ = [
    "CyclicalKLWeight",
    "DiagonalGaussian",
    "ElboTerms",
    "Family",
    "FullCovarianceGaussian",
    "as_family",
    "as_kl_weight",
    "elbo_terms",
    "importance_weighted_log_likelihood",
    "kl_divergence",
    "linear_kl_weight",
    "standard_normal",
]
