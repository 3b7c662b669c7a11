"""Floor 7: configurations, schedules, callbacks, training and evaluation of a run, plots."""

from tf_savae.training.generate_config import GenerateConfig
from tf_savae.training.generate_run import generate
from tf_savae.training.image import train_and_evaluate_images
from tf_savae.training.image_config import IMAGE_CONFIGS, ImageConfig
from tf_savae.training.oracle import run_oracle
from tf_savae.training.oracle_config import ORACLE_CONFIGS, OracleConfig
from tf_savae.training.run_config import configured
from tf_savae.training.text import train_and_evaluate
from tf_savae.training.text_config import TEXT_CONFIGS, TextConfig

__all__ = [
    "IMAGE_CONFIGS",
    "ORACLE_CONFIGS",
    "TEXT_CONFIGS",
    "GenerateConfig",
    "ImageConfig",
    "OracleConfig",
    "TextConfig",
    "configured",
    "generate",
    "run_oracle",
    "train_and_evaluate",
    "train_and_evaluate_images",
]
