"""Floor 6: models as SavedModels that a stock TF Serving runs; see docs/serving.md."""

from tf_savae.serving.exporting import export
from tf_savae.serving.limits import Limits

__all__ = ["Limits", "export"]
