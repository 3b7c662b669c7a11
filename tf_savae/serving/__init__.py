"""Export models as SavedModels for an unmodified TF Serving; see docs/serving.md."""

from tf_savae.serving.exporting import export
from tf_savae.serving.inputs import SharedInputs
from tf_savae.serving.limits import Limits
from tf_savae.serving.lite import export_lite
from tf_savae.serving.signature import Input, Output, Signature

__all__ = ["Input", "Limits", "Output", "SharedInputs", "Signature", "export", "export_lite"]
