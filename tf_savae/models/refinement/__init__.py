"""`SemiAmortizedRefinement` and what it is made of."""

from tf_savae.models.refinement.layer import SemiAmortizedRefinement

__all__ = ["SemiAmortizedRefinement"]
