"""From a finished run and a text file to batches for evaluation."""

import dataclasses

import numpy as np
from absl import logging

from tf_savae import data
from tf_savae.tasks.text.data import digest
from tf_savae.training.task import Split, check_digest

__all__ = ["read_text_split"]


def read_text_split(run, config):
    """The `Split` of a text: one document a line, read as the run read its own.

    Args:
      run: a `Run` on text.
      config: with file, split, max_examples and batch_size.

    Raises:
      ValueError: the file cannot be used, or is not the split that it is said to be.
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

    # The same shapes for every subset: what was compiled for one serves the others.
    boundaries = data.bucket_lengths(corpus.lengths, settings["buckets"])
    size = min(config.batch_size or settings["batch_size"], len(corpus))

    def batches(count):
        chosen = _chosen(corpus, data.spread(count, len(corpus)))
        return data.batches(chosen, size, boundaries=boundaries)

    return Split(len(corpus), batches, "document", corpus)


def _chosen(corpus, rows):
    """The corpus with the documents numbered by the slice or array `rows` only."""
    kept = np.arange(len(corpus))[rows]
    if len(kept) == len(corpus):
        return corpus
    sequences = tuple(corpus.sequences[row] for row in kept)
    unknown = sum(int(np.count_nonzero(row == data.UNK)) for row in sequences)
    return dataclasses.replace(
        corpus, sequences=sequences, unknown_words=unknown, reserved_words=0, lines=None
    )


def _first(count):
    """The slice of the first `count` rows; of all for 0."""
    return slice(count or None)
