"""Loads a finished run from its folder: model, configuration and vocabulary."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_savae.core.progress.stages import stage
from tf_savae.core.typing import PathLike
from tf_savae.models import AutoregressiveModel, SemiAmortizedVAE
from tf_savae.objectives.lookup import has_latent
from tf_savae.training.config import EARLIER, RunConfig
from tf_savae.training.storage.json_files import inside, read_json, record_path
from tf_savae.training.storage.safe_load import load_model_file
from tf_savae.training.task import Task

__all__ = ["Run", "load_run"]


class Run(NamedTuple):
    """A finished run, loaded from its folder."""

    workdir: Path
    task: Any  # the `Task` of its kind of data
    model: Any  # SemiAmortizedVAE or AutoregressiveModel, compiled, with the best weights
    configuration: dict  # the fields of its `RunConfig` without files
    data: dict  # digests that identify its data, as in run.json
    vocabulary: Any  # tf_savae.data.Vocabulary, or None for images

    @property
    def kind(self) -> str:
        """The kind of data, such as "text"."""
        return self.task.kind

    @property
    def system(self) -> str:
        """The name of its system, such as "savae"."""
        return self.configuration["system"]

    @property
    def latent(self) -> bool:
        """Whether the model has latent variables."""
        return has_latent(self.model)


def load_run(workdir: PathLike, tasks: Sequence[Task]) -> Run:
    """Loads the finished run in `workdir`; writes nothing.

    Args:
      workdir: path of the folder of a finished run.
      tasks: list of `Task`, the accepted kinds of data.

    Returns:
      A `Run`.

    Raises:
      FileNotFoundError: the folder, or the run, model or vocabulary in it, does not exist.
      ValueError: a file in the folder is damaged, has another format or belongs to another run; or
        the run has another kind of data.

    >>> load_run("no_such_folder", [])
    Traceback (most recent call last):
    FileNotFoundError: workdir no_such_folder: expected the folder of a finished run, ...
    """
    folder = Path(workdir)
    record = _record(folder)
    task = _task_of(folder, record, tasks)
    configuration = _complete(folder / "run.json", record["configuration"], task.configuration)
    identity = record.get("data", {})
    vocabulary = task.load_files(folder, identity)
    with stage(f"Loading the model of {folder}"):
        model = _model(inside(folder, "model.keras"))
    _check_vocabulary(folder, model, vocabulary)
    return Run(folder, task, model, configuration, identity, vocabulary)


def _task_of(folder, record, tasks):
    """Returns the `Task` of a run by its kind or, for earlier versions, by its settings."""
    kind, fields = record.get("kind"), set(record["configuration"])
    if kind is None:  # An earlier version did not record the kind; its settings identify it.
        shared = set(RunConfig().identity())
        own = {task: set(task.configuration().identity()) - shared for task in tasks}
        found = max(tasks, key=lambda task: len(own[task] & fields), default=None)
        if found and own[found] & fields:
            return found
    for task in tasks:
        if kind == task.kind:
            return task
    kinds = " or ".join(task.kind for task in tasks)
    raise ValueError(
        f"workdir {folder}: expected a run of kind {kinds}, got one of kind {kind}. Use the "
        "workdir of such a run."
    )


def _record(folder):
    """Returns the content of run.json."""
    path = record_path(folder)
    record = read_json(path)
    configuration = record.get("configuration") if isinstance(record, dict) else None
    if not isinstance(configuration, dict) or "system" not in configuration:
        raise ValueError(
            f"{path}: expected the record of a run with one system (train_text.py, "
            "train_image.py), got something else. Use the workdir of such a run."
        )
    if not isinstance(record.get("data", {}), dict):
        raise ValueError(f"{path}: expected digests of the run's data, got {record['data']!r}.")
    return record


def _complete(path, configuration, known):
    """Returns the configuration, with defaults for settings that earlier versions did not record.

    Raises:
      ValueError: a value is out of range.
    """
    wanted = known().identity()
    configuration = {**EARLIER, **configuration}
    values = {name: configuration[name] for name in wanted if name in configuration}
    if values.get("adjoint") in ("unrolled", "stop"):  # Earlier versions accepted and ignored it.
        values["adjoint_clip_norm"] = 0.0
    try:
        known(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected the configuration of a run, got {error}") from error
    return {**wanted, **configuration}


def _model(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the run has no model yet; it is written when training ends. Run the training "
            "command again with the same flags until it prints its report."
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: expected a Keras model file, got a damaged or different file. Run the "
            "training command again with the same flags to write the model again from the best "
            "weights."
        )
    model = load_model_file(path)
    if not isinstance(model, (SemiAmortizedVAE, AutoregressiveModel)):
        raise ValueError(
            f"{path}: expected a SemiAmortizedVAE or AutoregressiveModel, got a "
            f"{type(model).__name__}. Use the workdir of a tf_savae run."
        )
    return model


def _check_vocabulary(folder, model, vocabulary):
    size = getattr(model.decoder, "vocabulary_size", None)
    if vocabulary is not None and size is not None and size != len(vocabulary):
        raise ValueError(
            f"workdir {folder}: expected model and vocabulary of one size, got a model of {size:,} "
            f"tokens and a vocabulary of {len(vocabulary):,}. One of the files belongs to another "
            "run."
        )
