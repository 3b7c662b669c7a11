"""Stochastic variational inference and its derivatives, in pure tensors."""

from tf_savae.autodiff.time_scan import scan
from tf_savae.svi.adjoints import Exact, Stop, Truncated, Unrolled
from tf_savae.svi.autotune import fastest_hvp
from tf_savae.svi.learned_rules import LearnedSteps, LearnedUpdate
from tf_savae.svi.refinement import Trace, refine
from tf_savae.svi.residuals.choice import choose_residuals
from tf_savae.svi.short_forms import ADJOINTS
from tf_savae.svi.update import Momentum, NaturalGradient

__all__ = [
    "ADJOINTS",
    "Exact",
    "LearnedSteps",
    "LearnedUpdate",
    "Momentum",
    "NaturalGradient",
    "Stop",
    "Trace",
    "Truncated",
    "Unrolled",
    "choose_residuals",
    "fastest_hvp",
    "refine",
    "scan",
]
