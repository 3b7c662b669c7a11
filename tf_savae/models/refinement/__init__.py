"""The layer `SemiAmortizedRefinement` and its components."""

from tf_savae.models.refinement.layer import SemiAmortizedRefinement

__all__ = ["SemiAmortizedRefinement"]
