"""Training on text: `train_and_evaluate(config, workdir)`, resumable after kill -9."""

import os

from tf_savae import data
from tf_savae.training.run import Task, run
from tf_savae.training.text_data import load_texts
from tf_savae.training.text_model import build_model

__all__ = ["train_and_evaluate"]

_VOCABULARY = "vocabulary.txt"


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
    return run(config, workdir, Task(load_texts, build_model, _keep_vocabulary))


def _check_files(config):
    for name in ("train_file", "valid_file", "test_file"):
        path = getattr(config, name)
        if not path:
            raise ValueError(f"{name}: expected a text file or tfds:NAME, got nothing.")
        if not str(path).startswith("tfds:") and not os.access(path, os.R_OK):
            raise FileNotFoundError(
                f"{name}: expected a file that can be read (UTF-8 text, one document a line, "
                f"plain, .gz, .xz or .bz2), got {path}."
            )


def _keep_vocabulary(folder, texts):
    vocabulary = texts.vocabulary
    path = folder / _VOCABULARY
    if not path.exists():
        vocabulary.save(path)
    elif data.Vocabulary.load(path) != vocabulary:
        raise ValueError(
            f"{path}: expected the vocabulary of the training text, which the checkpoint's ids "
            "belong to, got another one. Give the text the run began with, or another --workdir."
        )
