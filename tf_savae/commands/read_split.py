"""Read the data of a finished run for evaluate.py and analyze.py."""

from typing import Any

from tf_savae.data import readable
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split

__all__ = ["read_split"]


def read_split(run: Run, config: Any) -> Split:
    """Returns the `Split` of a configuration, checked against the data of the run's training.

    Args:
      run: a `Run`.
      config: `FinishedRunConfig`, or an object with file, split, max_examples and batch_size.

    Raises:
      FileNotFoundError: the file does not exist.
      ValueError: no file is given, the file is invalid, or it is not the split `config.split`.
    """
    if not config.file:
        raise ValueError(
            f"file: expected the data of --split={config.split}, since a run does not store its "
            "data; got nothing. Give --file."
        )
    if not readable(config.file):
        raise FileNotFoundError(f"file: expected a file that can be read, got {config.file}.")
    return run.task.read_split(run, config)
