"""What the commands of bin/ do, each in one call."""

from tf_savae.commands.analyze import AnalyzeConfig, analyze_run
from tf_savae.commands.evaluate.config import EvaluateConfig
from tf_savae.commands.evaluate.run import evaluate_run
from tf_savae.commands.export import ExportConfig, export_run
from tf_savae.commands.generate.config import GenerateConfig
from tf_savae.commands.generate.run import generate

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
