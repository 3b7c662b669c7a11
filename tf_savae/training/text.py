"""Training on text: `train_and_evaluate(config, workdir)`, resumable after kill -9."""

import os
import sys
from pathlib import Path

import keras
from absl import logging

from tf_savae import data
from tf_savae.models.building import first_batch
from tf_savae.training.callbacks import RunState, is_finished, write_history
from tf_savae.training.checkpoints import Checkpoints
from tf_savae.training.report import print_report, test_report, versions
from tf_savae.training.text_data import load_texts
from tf_savae.training.text_model import build_model
from tf_savae.training.workdir import Workdir

__all__ = ["train_and_evaluate"]

_VOCABULARY, _REPORT, _MODEL = "vocabulary.txt", "report.json", "model.keras"


def train_and_evaluate(config, workdir):
    """Trains what `config` says in `workdir`, or resumes it, and reports on the test text.

    Everything that can be wrong with the input is found before any long work. A run killed at
    any moment continues at its latest checkpoint when called again, and ends with the numbers of
    an uninterrupted one. A finished run is not trained again.

    Args:
      config: `TextConfig`.
      workdir: path of the run's folder; made if needed.

    Returns:
      The report, a dict as in report.json.

    Raises:
      ValueError: a text cannot be used, or the folder cannot be written or holds another run.
      FileNotFoundError: a text is missing.
    """
    _check_files(config)
    folder = Workdir(workdir)
    try:
        return _run(config, folder)
    finally:
        folder.release()


def _run(config, folder):
    folder.check("configuration", config.identity())
    texts = load_texts(config)
    folder.check("data", texts.identity())
    _keep_vocabulary(folder, texts.vocabulary)
    identity = {"configuration": config.identity(), "data": texts.identity()}
    folder.claim({**identity, "versions": versions()})
    _mention_other_versions(folder)
    report = folder.read_json(_REPORT)
    if report is None:
        report = _train_and_report(config, folder, texts)
    else:
        print(f"The run in {folder.path} is finished; its report:")
    print_report(report)
    return report


def _mention_other_versions(folder):
    began_with = folder.read_json("run.json").get("versions")
    if began_with != versions():
        logging.warning(
            "this run began with %s and goes on with %s: its numbers may differ in the last digits "
            "from those of an uninterrupted run",
            began_with,
            versions(),
        )


def _check_files(config):
    for name in ("train_file", "valid_file", "test_file"):
        path = getattr(config, name)
        if not path:
            raise ValueError(f"{name}: expected a text file or tfds:NAME, got nothing.")
        if not str(path).startswith("tfds:") and not os.access(path, os.R_OK):
            raise FileNotFoundError(
                f"{name}: expected a file that can be read (UTF-8 text, one document a line, "
                f"plain, .gz or .xz), got {path}."
            )


def _keep_vocabulary(folder, vocabulary):
    path = folder / _VOCABULARY
    if not path.exists():
        vocabulary.save(path)
    elif data.Vocabulary.load(path) != vocabulary:
        raise ValueError(
            f"{path}: expected the vocabulary of the training text, which the checkpoint's ids "
            "belong to, got another one. Give the text the run began with, or another --workdir."
        )


def _train_and_report(config, folder, texts):
    model = build_model(config, texts)
    checkpoints = Checkpoints(folder, model)
    if checkpoints.restore():
        logging.info("resuming at step %d", int(model.optimizer.iterations.numpy()))
        write_history(folder, checkpoints.state.get("history", []))
    _settle_hvp(config, model, texts, checkpoints)
    while not is_finished(checkpoints.state.get("history", []), config):
        _fit(config, folder, texts, model, checkpoints)
    checkpoints.restore_best()
    report = test_report(config, texts, model, checkpoints.state)
    _save_model(folder, model)
    folder.write_json(_REPORT, report)
    return report


def _settle_hvp(config, model, texts, checkpoints):
    """Measures hvp="auto" once a run: both products are exact, but round differently."""
    if config.system != "savae" or config.hvp != "auto":
        return
    if "hvp" not in checkpoints.state:
        batch, _ = first_batch(texts.stream(config.seed, 0), config.batch_size)
        model._prepare_fit(batch)
        checkpoints.state["hvp"] = model._hvp
    model.refinement.hvp = model._hvp = checkpoints.state["hvp"]


def _fit(config, folder, texts, model, checkpoints):
    """Trains to the end: of the interrupted epoch if there is one, else of the run."""
    each = texts.steps_per_epoch()
    step = int(model.optimizer.iterations.numpy())
    epoch, done = divmod(step, each)
    metrics = checkpoints.state["metrics"] if done else None
    model.fit(
        texts.stream(config.seed, step),
        initial_epoch=epoch,
        epochs=epoch + 1 if done else config.epochs,
        steps_per_epoch=each - done,
        validation_data=texts.once(texts.valid),
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
            RunState(config, folder, checkpoints, each, metrics),
        ],
    )


def _save_model(folder, model):
    """The best weights as a Keras file, which appears whole or not at all."""
    temporary = Path(folder / f".{os.getpid()}.keras")
    model.save(temporary)
    os.replace(temporary, folder / _MODEL)
