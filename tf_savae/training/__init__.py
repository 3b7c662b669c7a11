"""Floor 7: configurations, schedules, callbacks, training and evaluation of a run, plots."""

from tf_savae.training.oracle import run_oracle
from tf_savae.training.oracle_config import ORACLE_CONFIGS, OracleConfig
from tf_savae.training.text import train_and_evaluate
from tf_savae.training.text_config import TEXT_CONFIGS, TextConfig

__all__ = [
    "ORACLE_CONFIGS",
    "TEXT_CONFIGS",
    "OracleConfig",
    "TextConfig",
    "run_oracle",
    "train_and_evaluate",
]
