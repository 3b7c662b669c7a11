"""Training on text: `train_and_evaluate(config, workdir)`, resumable after kill -9."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_savae import data
from tf_savae.analysis import encoder_saliency
from tf_savae.core.typing import Nest, PathLike
from tf_savae.tasks.text.config import TextConfig
from tf_savae.tasks.text.data import load_texts, perplexities, sources
from tf_savae.tasks.text.examples import read_examples, to_lines
from tf_savae.tasks.text.model import build_model
from tf_savae.tasks.text.saliency import analyze_text, checked_tags
from tf_savae.tasks.text.split import read_text_split
from tf_savae.tasks.text.view import TextView
from tf_savae.training.storage.json_files import inside, write_whole
from tf_savae.training.storage.workdir import Workdir
from tf_savae.training.task import Split, Task
from tf_savae.training.trainer import run

__all__ = ["TextTask", "train_and_evaluate"]

_VOCABULARY = "vocabulary.txt"


def train_and_evaluate(config: TextConfig, workdir: PathLike) -> dict[str, Any]:
    """Trains the model of `config` in `workdir`, or resumes its run, and evaluates the test text.

    All inputs are validated before any long computation. A run killed at any time resumes at its
    latest checkpoint when called again, and gives the numbers of an uninterrupted run. A finished
    run is not trained again.

    Args:
      config: `TextConfig`.
      workdir: path of the run's folder; created if needed.

    Returns:
      The report, a dict as in report.json.

    Raises:
      ValueError: a text is invalid, or the folder is not writable or contains another run.
      FileNotFoundError: a text does not exist.
    """
    _check_files(config)
    return run(config, workdir, TextTask())


class TextTask(Task):
    """The task of documents, one per line, as token ids; a run saves its vocabulary."""

    kind, unit, configuration = "text", "document", TextConfig

    def load(self, config: Any) -> Any:
        return load_texts(config)

    def build(self, config: Any, data: Any, workdir: Path) -> keras.Model:
        return build_model(config, data)

    def save_files(self, folder: Workdir, data: Any) -> None:
        _save_vocabulary(folder, data.vocabulary)

    def load_files(self, workdir: Path, identity: dict[str, Any]) -> Any:
        return _load_vocabulary(workdir, identity)

    def check_start(self, source: Any, data: Any, path: PathLike) -> None:
        if source.vocabulary != data.vocabulary:
            raise ValueError(
                "start_from: expected a run with the vocabulary of this training text, got that of "
                f"{path}, which is different. Train both on the same text."
            )

    def view(self, config: Any, data: Any) -> Any:
        return TextView(config, data)

    def read_split(self, run: Any, config: Any) -> Split:
        return read_text_split(run, config)

    def measures(self, split: Split, name: str, nll: np.ndarray) -> dict[str, float]:
        return perplexities(split.data, name, nll)

    def check_networks(self, run: Any) -> None:
        if run.model.encoder is not None:
            encoder_saliency(run.model)

    def read_tags(self, run: Any, split: Split, config: Any) -> Any:
        return checked_tags(run, split, config)

    def analyze(
        self, run: Any, split: Split, config: Any, steps: int, tags: Any, folder: Path
    ) -> dict[str, Any]:
        return analyze_text(run, split, config, steps, tags, folder)

    def generation_options(
        self, config: Any, run: Any, files: Sequence[Path] | None
    ) -> dict[str, Any]:
        if files and len(files) > 1:
            raise ValueError(
                f"output: expected a text file for a run on text, got the image {files[0]}."
            )
        return config.text_options(run.configuration["max_words"])

    def read_examples(self, config: Any, run: Any) -> Nest:
        return read_examples(config, run)

    def write_generated(
        self, config: Any, run: Any, x: Nest, drawn: Any, labels: Any, files: Sequence[Path] | None
    ) -> list[str] | Path:
        lines = to_lines(drawn.x, run.vocabulary, labels if config.labels else None)
        text = "".join(f"{line}\n" for line in lines)
        if files:
            write_whole(files[0], text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
        return lines


def _check_files(config):
    for part, path in sources(config).items():
        name = f"{part}_file"
        if not path:
            raise ValueError(
                f"{name}: expected a text file, builtin:sentences, tfds:NAME or hf:NAME, got "
                "nothing."
            )
        if not data.readable(path):
            raise FileNotFoundError(
                f"{name}: expected a file that can be read (UTF-8 text, one document a line, "
                "plain, .gz, .xz or .bz2; FILE@COLUMN of a .csv, .tsv or .jsonl table), got "
                f"{path}."
            )


def _save_vocabulary(folder, vocabulary):
    path = folder / _VOCABULARY
    if not path.exists():
        vocabulary.save(path)
    elif data.Vocabulary.load(path) != vocabulary:
        raise ValueError(
            f"{path}: expected the vocabulary of the training text, to whose ids the checkpoint "
            "belongs, got a different one. Use the text that the run was started with, or another "
            "--workdir."
        )


def _load_vocabulary(folder, identity):
    vocabulary = data.Vocabulary.load(inside(folder, _VOCABULARY))
    known = identity.get("vocabulary")
    if known is not None and known != vocabulary.fingerprint():
        raise ValueError(
            f"{folder / _VOCABULARY}: expected the vocabulary that the run was trained with "
            f"(fingerprint {str(known)[:12]}), got a different one "
            f"({vocabulary.fingerprint()[:12]}). Restore the original file."
        )
    return vocabulary
