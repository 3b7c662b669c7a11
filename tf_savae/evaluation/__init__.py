"""Evaluate trained models on a dataset: bounds, inference gaps, mutual information."""

from tf_savae.evaluation.bounds import Bounds, evaluate_bounds
from tf_savae.evaluation.evaluate_posterior import EvaluatePosterior
from tf_savae.evaluation.gap import InferenceGap, inference_gap
from tf_savae.evaluation.gradient_signal import GradientNoise, gradient_noise
from tf_savae.evaluation.importance import (
    ImportanceWeighting,
    importance_weighted_nll,
    importance_weighting,
)
from tf_savae.evaluation.information import MutualInformation, mutual_information
from tf_savae.evaluation.steps_sweep import StepsCurve, steps_curve
from tf_savae.evaluation.unit_activity import active_units

__all__ = [
    "Bounds",
    "EvaluatePosterior",
    "GradientNoise",
    "ImportanceWeighting",
    "InferenceGap",
    "MutualInformation",
    "StepsCurve",
    "active_units",
    "evaluate_bounds",
    "gradient_noise",
    "importance_weighted_nll",
    "importance_weighting",
    "inference_gap",
    "mutual_information",
    "steps_curve",
]
