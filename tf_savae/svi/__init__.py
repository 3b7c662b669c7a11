"""Floor 2: stochastic variational inference and its derivatives, pure tensors, no Keras."""

from tf_savae.svi.refine import ADJOINTS, Trace, refine
from tf_savae.svi.scan import scan

__all__ = ["ADJOINTS", "Trace", "refine", "scan"]
