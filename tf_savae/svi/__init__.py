"""Floor 2: stochastic variational inference and its derivatives, in pure tensors."""

from tf_savae.autodiff.scan import scan
from tf_savae.svi.autotune import fastest_hvp
from tf_savae.svi.learned_rules import LearnedSteps, LearnedUpdate
from tf_savae.svi.refine import ADJOINTS, Trace, refine
from tf_savae.svi.update import Momentum, NaturalGradient

__all__ = [
    "ADJOINTS",
    "LearnedSteps",
    "LearnedUpdate",
    "Momentum",
    "NaturalGradient",
    "Trace",
    "fastest_hvp",
    "refine",
    "scan",
]
