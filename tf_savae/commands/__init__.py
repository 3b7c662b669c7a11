"""The commands of bin/ as functions."""

from typing import TYPE_CHECKING

from tf_savae.core.lazy_imports import lazy

if TYPE_CHECKING:
    from tf_savae.commands.analyze import analyze_run
    from tf_savae.commands.evaluate.config import AnalyzeConfig, EvaluateConfig
    from tf_savae.commands.evaluate.run import evaluate_run
    from tf_savae.commands.export import ExportConfig, export_run
    from tf_savae.commands.generation.config import GenerateConfig
    from tf_savae.commands.generation.run import generate

__all__ = [
    "AnalyzeConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GenerateConfig",
    "analyze_run",
    "evaluate_run",
    "export_run",
    "generate",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "tf_savae.commands.analyze": ["analyze_run"],
        "tf_savae.commands.evaluate.config": ["AnalyzeConfig", "EvaluateConfig"],
        "tf_savae.commands.evaluate.run": ["evaluate_run"],
        "tf_savae.commands.export": ["ExportConfig", "export_run"],
        "tf_savae.commands.generation.config": ["GenerateConfig"],
        "tf_savae.commands.generation.run": ["generate"],
    },
)
