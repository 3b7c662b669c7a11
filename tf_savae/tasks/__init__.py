"""The kinds of data that runs train on, one folder each; `TASKS` are all that commands know."""

from tf_savae.core.typing import PathLike
from tf_savae.tasks.image.config import IMAGE_CONFIGS, ImageConfig
from tf_savae.tasks.image.task import ImageTask, train_and_evaluate_images
from tf_savae.tasks.oracle.config import ORACLE_CONFIGS, OracleConfig
from tf_savae.tasks.oracle.experiment import run_oracle
from tf_savae.tasks.text.config import TEXT_CONFIGS, TextConfig
from tf_savae.tasks.text.task import TextTask, train_and_evaluate
from tf_savae.training import finished_run

__all__ = [
    "IMAGE_CONFIGS",
    "ORACLE_CONFIGS",
    "TASKS",
    "TEXT_CONFIGS",
    "ImageConfig",
    "ImageTask",
    "OracleConfig",
    "TextConfig",
    "TextTask",
    "load_run",
    "run_oracle",
    "train_and_evaluate",
    "train_and_evaluate_images",
]

TASKS = [TextTask(), ImageTask()]


def load_run(workdir: PathLike) -> finished_run.Run:
    """A finished run of any kind in `TASKS`: see `tf_savae.training.finished_run.load_run`.

    >>> load_run("no_such_folder")
    Traceback (most recent call last):
    FileNotFoundError: workdir no_such_folder: expected the folder of a finished run, ...
    """
    return finished_run.load_run(workdir, TASKS)
