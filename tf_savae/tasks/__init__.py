"""The kinds of data of runs, one folder each; `TASKS` lists those available to commands."""

import importlib
from typing import TYPE_CHECKING

from tf_savae.core.lazy_imports import lazy
from tf_savae.core.typing import PathLike

if TYPE_CHECKING:
    from tf_savae.tasks.image.config import IMAGE_CONFIGS, ImageConfig
    from tf_savae.tasks.image.task import ImageTask, train_and_evaluate_images
    from tf_savae.tasks.kinds import TASKS
    from tf_savae.tasks.oracle.config import ORACLE_CONFIGS, OracleConfig
    from tf_savae.tasks.oracle.experiment import run_oracle
    from tf_savae.tasks.text.config import TEXT_CONFIGS, TextConfig
    from tf_savae.tasks.text.task import TextTask, train_and_evaluate
    from tf_savae.training.finished_run import Run

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

__getattr__, __dir__ = lazy(
    __name__,
    {
        "tf_savae.tasks.image.config": ["IMAGE_CONFIGS", "ImageConfig"],
        "tf_savae.tasks.image.task": ["ImageTask", "train_and_evaluate_images"],
        "tf_savae.tasks.kinds": ["TASKS"],
        "tf_savae.tasks.oracle.config": ["ORACLE_CONFIGS", "OracleConfig"],
        "tf_savae.tasks.oracle.experiment": ["run_oracle"],
        "tf_savae.tasks.text.config": ["TEXT_CONFIGS", "TextConfig"],
        "tf_savae.tasks.text.task": ["TextTask", "train_and_evaluate"],
    },
)


def load_run(workdir: PathLike) -> "Run":
    """Loads a finished run of any kind in `TASKS`; see `tf_savae.training.finished_run.load_run`.

    >>> load_run("no_such_folder")
    Traceback (most recent call last):
    FileNotFoundError: workdir no_such_folder: expected the folder of a finished run, ...
    """
    from tf_savae.training import finished_run

    known = importlib.import_module(__name__).TASKS  # Read now, since kinds can be added.
    return finished_run.load_run(workdir, known)
