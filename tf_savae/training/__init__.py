"""Floor 7: configurations, schedules, callbacks, training and evaluation of a run, plots."""

from tf_savae.training.text import train_and_evaluate
from tf_savae.training.text_config import TEXT_CONFIGS, TextConfig

__all__ = ["TEXT_CONFIGS", "TextConfig", "train_and_evaluate"]
