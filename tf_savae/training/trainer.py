"""`run`: claims a folder, trains, resumes after kill -9, and reports."""

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tf_savae.core.atomic_files import sync_file, sync_folder
from tf_savae.core.progress.stages import stage
from tf_savae.core.typing import PathLike
from tf_savae.models import NonFiniteError
from tf_savae.models.build import first_batch
from tf_savae.models.progress_bar import ProgressBar
from tf_savae.svi.short_forms import short_forms_of
from tf_savae.training.callbacks import RunState, is_finished, write_history
from tf_savae.training.config import EARLIER, RunConfig
from tf_savae.training.distribution import worker_group
from tf_savae.training.report import print_report, test_report, versions
from tf_savae.training.resumed_settings import with_recorded_keep
from tf_savae.training.storage.checkpoints import Checkpoints
from tf_savae.training.task import Task
from tf_savae.training.tensorboard import boards
from tf_savae.training.warm_start import check_start, start, start_identity

__all__ = ["run"]

_REPORT, _MODEL = "report.json", "model.keras"
_TRIED = 20  # Number of batches whose largest is used to choose hvp and keep.


def run(config: RunConfig, workdir: PathLike, task: Task) -> dict[str, Any]:
    """Trains the model of `config` in `workdir`, or resumes its run, and evaluates the test data.

    A run killed at any time resumes at its latest checkpoint when called again, and gives the
    numbers of an uninterrupted run. A finished run is not trained again; if its model file is
    missing or damaged, it is rewritten from the best weights.

    Args:
      config: `RunConfig`.
      workdir: path of the run's folder; created if needed.
      task: `Task`.

    Returns:
      The report, a dict as in report.json.

    Raises:
      ValueError: the folder is not writable or contains another run.
    """
    with worker_group(config.strategy) as processes:
        processes.check_batch_size(config.batch_size)
        folder = processes.workdir(workdir)
        try:
            return _run(config, folder, task, processes)
        finally:
            folder.release()


def _run(config, folder, task, processes):
    check_start(config)
    config = with_recorded_keep(config, folder)
    if folder.writes:
        _check(config, folder)
    data = task.load(config)
    processes.in_turn(lambda: _claim(config, folder, task, data))
    report = folder.read_json(_REPORT)
    if report is None:
        report = _train_and_report(config, folder, data, task, processes)
    elif folder.writes:
        _restore_model_file(config, folder, data, task)
        print(f"The run in {folder.path} is finished; its report:")
    if folder.writes:
        print_report(report, task.unit)
    return report


def _claim(config, folder, task, data):
    """Claims the folder for this run, or checks that it belongs to this run."""
    identity = {"configuration": config.identity(), "data": data.identity()}
    identity["start"] = _start_identity(config, folder, task)
    identity["kind"] = task.kind
    if not folder.writes and folder.read_json("run.json") is None:
        raise ValueError(
            f"workdir {folder.path}: expected the run that the chief has started there, got none. "
            "Use a folder that all machines share."
        )
    _check(config, folder)
    folder.check("data", identity["data"])
    folder.check("start", identity["start"])
    if folder.writes:
        # Claimed first: after kill -9, a folder with files but without run.json is rejected.
        folder.claim({**identity, "versions": versions()})
        task.save_files(folder, data)
    _mention_other_versions(folder)


def _start_identity(config, folder, task):
    """Returns the start identity, from run.json if the run named by start_from was deleted."""
    begun = folder.read_json("run.json")
    if begun and config.start_from and not (Path(config.start_from) / _MODEL).is_file():
        return begun.get("start", {})
    return start_identity(config, task)


def _check(config, folder):
    """Checks that the folder has the same configuration; missing settings have the defaults."""
    defaults = {**type(config)().identity(), **EARLIER}
    # Earlier versions accepted this setting, too, where it has no effect.
    unused = {"adjoint_clip_norm"} - short_forms_of(config.adjoint)
    folder.check("configuration", config.identity(), defaults, unused)


def _mention_other_versions(folder):
    began_with = folder.read_json("run.json").get("versions")
    if began_with != versions():
        logging.warning(
            "this run was started with %s and resumes with %s: its numbers may differ in the last "
            "digits from those of an uninterrupted run",
            began_with,
            versions(),
        )


def _train_and_report(config, folder, data, task, processes):
    with stage("Building the model"), processes.scope():
        model = task.build(config, data, folder.path)
    checkpoints = Checkpoints(folder, model)
    if checkpoints.restore():
        logging.info("resuming at step %d", int(model.optimizer.iterations.numpy()))
        write_history(folder, checkpoints.state.get("history", []))
    elif folder.read_json("history.json"):  # It is written after the first checkpoint.
        raise ValueError(
            f"workdir {folder.path}: expected the checkpoints of a trained run, but they are "
            "missing; training from the start would overwrite it. Restore the folder checkpoints, "
            "or delete the workdir to train from scratch."
        )
    else:
        with processes.scope():
            start(config, model, data, task)
    processes.check_same("step", int(model.optimizer.iterations.numpy()))
    with processes.scope():
        _resolve_programs(config, model, data, checkpoints)
    while not is_finished(checkpoints.state.get("history", []), config):
        _fit(config, folder, data, task, model, checkpoints)
    if folder.writes:
        _report(config, folder, data, model, checkpoints, processes.size)
    processes.wait()
    return folder.read_json(_REPORT)


def _report(config, folder, data, model, checkpoints, count):
    """Evaluates the best weights on the test data, and writes the model and the report."""
    _take_best(folder, checkpoints)
    with stage("Evaluating the best weights on the test data"):
        report = test_report(config, data, model, checkpoints.state)
    _save_model(folder, model)
    folder.write_json(_REPORT, {**report, "replicas": count})


def _take_best(folder, checkpoints):
    if not checkpoints.restore_best():
        raise ValueError(
            f"{folder.path}: expected the weights of the best epoch in its folder best, but they "
            "are missing. Restore them, or delete the workdir to train from scratch."
        )


def _restore_model_file(config, folder, data, task):
    """Rewrites the model file of a finished run if it is missing or damaged."""
    path = folder / _MODEL
    if _is_whole(path):
        return
    logging.warning(
        "%s is %s: writing it again from the weights of the best epoch",
        path,
        "damaged" if path.exists() else "missing",
    )
    # Outside the group's scope, in which the other processes would have to build a model, too.
    model = task.build(config, data, folder.path)
    checkpoints = Checkpoints(folder, model)
    checkpoints.restore()  # For the optimizer and the chosen programs.
    _resolve_programs(config, model, data, checkpoints)
    _take_best(folder, checkpoints)
    _save_model(folder, model)


def _is_whole(path):
    """Returns whether a file is a zip archive with valid checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        return False


def _resolve_programs(config, model, data, checkpoints):
    """Chooses `hvp` and `keep` once per run; all choices are exact but round differently."""
    state = checkpoints.state
    known = short_forms_of(config.adjoint)
    chosen = [name for name in ("hvp", "keep") if name in known and getattr(config, name) == "auto"]
    if not config.objective.crosses_refinement or not chosen:
        return
    if any(name not in state for name in chosen):
        batch = _large_batch(data.stream(config.seed, 0), config.batch_size)
        with stage("Choosing what the refinement steps keep in memory"):
            model.prepare_fit(batch)
        now = {"hvp": model.hvp, "keep": model.keep or "none"}
        state |= {name: now[name] for name in chosen if name not in state}
    if "hvp" in chosen:
        model.refinement.hvp = model.hvp = state["hvp"]
    if "keep" in chosen:
        model.refinement.keep_budget = None  # It has chosen.
        model.refinement.keep = None if state["keep"] == "none" else state["keep"]


def _large_batch(stream, batch_size):
    """Returns the largest of the first batches; batches of text have several lengths."""
    sizes = [
        sum(int(tf.size(leaf)) for leaf in tf.nest.flatten(batch) if leaf is not None)
        for batch in stream.take(_TRIED)
    ]
    return first_batch(stream.skip(sizes.index(max(sizes))), batch_size)[0]


def _fit(config, folder, data, task, model, checkpoints):
    """Trains to the end of the interrupted epoch if there is one, else to the end of the run."""
    each = data.steps_per_epoch()
    step = int(model.optimizer.iterations.numpy())
    epoch, done = divmod(step, each)
    try:
        _fit_epochs(config, folder, data, task, model, checkpoints, epoch, done)
    except NonFiniteError as error:
        raise checkpoints.save_last_good(error, each) from error


def _fit_epochs(config, folder, data, task, model, checkpoints, epoch, done):
    each = data.steps_per_epoch()
    metrics = checkpoints.state.get("metrics", {}) if done else None
    model.fit(
        data.stream(config.seed, epoch * each + done),
        initial_epoch=epoch,
        epochs=epoch + 1 if done else config.epochs,
        steps_per_epoch=each - done,
        validation_data=data.once(data.valid),
        verbose=_verbosity(folder),
        skip_limit=config.skip_limit,
        callbacks=_callbacks(config, folder, data, task, checkpoints, metrics),
    )


def _callbacks(config, folder, data, task, checkpoints, metrics):
    state = RunState(config, folder, checkpoints, data.steps_per_epoch(), metrics)
    if not folder.writes:
        return [state]
    bar = ProgressBar()  # First, so that its line ends before others write.
    scalars = keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False)
    if not config.board_samples:
        return [bar, scalars, state]
    view = task.view(config, data)
    pictures = boards(config, folder, view, checkpoints)
    return [bar, scalars, state, *pictures]  # Pictures come after the epoch is saved.


def _verbosity(folder):
    if not folder.writes:
        return 0
    return 1 if sys.stdout.isatty() else 2


def _save_model(folder, model):
    """Writes the model with the best weights to a Keras file atomically.

    The file is synced before the report is written, since the report marks the run as finished.
    """
    path = folder / _MODEL
    temporary = path.with_name(f".{os.getpid()}.keras")
    try:
        temporary.unlink(missing_ok=True)  # Keras would follow a link.
        model.save(temporary)
        sync_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"{path}: could not be written ({error.strerror or error}). Free disk space and run "
            "the same command again; training is not repeated."
        ) from error
    sync_folder(folder.path)
