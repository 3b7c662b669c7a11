"""Reads example texts for generate.py, and converts rows of ids to lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from tf_savae import data
from tf_savae.core.typing import TensorLike
from tf_savae.training.finished_run import Run

__all__ = ["read_examples", "to_lines"]


def read_examples(config: Any, run: Run) -> np.ndarray:
    """Returns the examples of config.file for the mode, as int32 rows [N, T] of the run's ids.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not text, or has too few lines.
    """
    settings = {name: run.configuration[name] for name in ("max_words", "long_lines")}
    lines, report = data.read_lines(config.file, **settings)
    logging.info("%s", report.summary())
    numbers = config.example_numbers(len(lines), f"lines with words of {config.file}")
    corpus = data.TextCorpus.encode([lines[i] for i in numbers], run.vocabulary)
    logging.info("used: %s", corpus.summary())
    return data.pad_rows(corpus.sequences, len(corpus), int(corpus.lengths.max()))


def to_lines(
    rows: TensorLike, vocabulary: data.Vocabulary, labels: Sequence[str] | None = None
) -> list[str]:
    """Converts rows of ids [N, T] to lines of words, including <unk>, up to the first </s>.

    Args:
      rows: int array [N, T], <s> first.
      vocabulary: the vocabulary of the run.
      labels: prefix of each line, separated by a tab; None for no prefix.

    >>> to_lines([[2, 4, 1, 3, 0]], data.Vocabulary(["cat"]), ["sample 1"])
    ['sample 1\\tcat <unk>']
    """
    lines = [vocabulary.decode(row) for row in rows]
    if labels is None:
        return lines
    return [f"{label}\t{line}" for label, line in zip(labels, lines, strict=True)]
