"""Floor 2: stochastic variational inference and its derivatives, pure tensors, no Keras."""

from tf_savae.svi.measure import fastest_hvp
from tf_savae.svi.refine import ADJOINTS, Trace, refine
from tf_savae.svi.scan import scan

__all__ = ["ADJOINTS", "Trace", "fastest_hvp", "refine", "scan"]
