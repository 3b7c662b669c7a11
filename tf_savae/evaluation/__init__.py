"""Floor 6: what a trained model achieves on a dataset."""

from tf_savae.evaluation.active_units import active_units
from tf_savae.evaluation.bounds import Bounds, evaluate_bounds
from tf_savae.evaluation.importance import importance_weighted_nll

__all__ = ["Bounds", "active_units", "evaluate_bounds", "importance_weighted_nll"]
