"""Reads a split of a text, as batches, for the evaluation of a finished run."""

import dataclasses
from typing import Any

import numpy as np
from absl import logging

from tf_savae import data
from tf_savae.tasks.text.data import digest
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split, check_digest

__all__ = ["read_text_split"]


def read_text_split(run: Run, config: Any) -> Split:
    """Returns the `Split` of a text, read with the settings of the run.

    Args:
      run: a `Run` on text.
      config: object with file, split, max_examples and batch_size.

    Raises:
      ValueError: the file is invalid, or it is not the declared split.
    """
    settings = run.configuration
    corpus = data.load_corpus(
        config.file,
        run.vocabulary,
        max_words=settings["max_words"],
        long_lines=settings["long_lines"],
    )
    limits = {"train": "max_train_lines", "valid": "max_eval_lines", "test": "max_eval_lines"}
    corpus = _chosen(corpus, _first(settings.get(limits.get(config.split), 0)))
    check_digest(run, config, digest(corpus.sequences))
    corpus = _chosen(corpus, _first(config.max_examples))
    logging.info("%s", corpus.summary())

    # All subsets have the same batch shapes, so compiled programs are reused.
    boundaries = data.bucket_lengths(corpus.lengths, settings["buckets"])
    size = min(config.batch_size or settings["batch_size"], len(corpus))

    def batches(count):
        chosen = _chosen(corpus, data.spread(count, len(corpus)))
        return data.batches(chosen, size, boundaries=boundaries)

    return Split(len(corpus), batches, "document", corpus)


def _chosen(corpus, rows):
    """Returns the corpus of the documents selected by `rows`, a slice or an array of indices."""
    kept = np.arange(len(corpus))[rows]
    if len(kept) == len(corpus):
        return corpus
    sequences = tuple(corpus.sequences[row] for row in kept)
    unknown = sum(int(np.count_nonzero(row == data.UNK)) for row in sequences)
    return dataclasses.replace(
        corpus, sequences=sequences, unknown_words=unknown, reserved_words=0, lines=None
    )


def _first(count):
    """Returns the slice of the first `count` rows, or of all rows for 0."""
    return slice(count or None)
