"""From a run and a file to batches for evaluation; each kind of run has its own reader."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from tf_savae import data
from tf_savae.training.image_data import readings
from tf_savae.training.text_data import _digest

__all__ = ["READERS", "Split", "read_split"]


class Split(NamedTuple):
    """The examples of one evaluation."""

    examples: int
    some: Callable  # n -> tf.data.Dataset of n of them as (x, None, weights [B]); see `data.spread`
    corpus: Any  # the TextCorpus, whose perplexity counts; None for images
    unit: str  # what one example is called

    def dataset(self):
        """All examples, as `some`."""
        return self.some(self.examples)


def read_split(run, config):
    """The `Split` of an `EvaluateConfig`, checked against what the run was trained on.

    Args:
      run: a `Run`.
      config: `EvaluateConfig`, or anything with file, split, max_examples and batch_size.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be used, or is not the split that it is said to be.
    """
    if not config.file:
        raise ValueError(
            f"file: expected the data of --split={config.split}, since a run does not keep its "
            "data; got nothing. Give --file."
        )
    place = str(config.file)
    plain = place.rpartition("@")[0] or place  # FILE@FIELD of images.
    if not place.startswith("tfds:") and not any(os.access(p, os.R_OK) for p in (place, plain)):
        raise FileNotFoundError(f"file: expected a file that can be read, got {place}.")
    return READERS[run.kind](run, config)


def _text(run, config):
    """One document a line, read as the run read its own."""
    settings = run.configuration
    corpus = data.load_corpus(
        config.file,
        run.vocabulary,
        max_words=settings["max_words"],
        long_lines=settings["long_lines"],
    )
    limits = {"train": "max_train_lines", "valid": "max_eval_lines", "test": "max_eval_lines"}
    corpus = _chosen(corpus, _first(settings.get(limits.get(config.split), 0)))
    check_digest(run, config, _digest(corpus.sequences))
    corpus = _chosen(corpus, _first(config.max_examples))
    logging.info("%s", corpus.summary())

    # The same shapes for every subset: what was compiled for one serves the others.
    boundaries = data.bucket_lengths(corpus.lengths, settings["buckets"])
    size = min(config.batch_size or settings["batch_size"], len(corpus))

    def batches(count):
        chosen = _chosen(corpus, data.spread(count, len(corpus)))
        return data.batches(chosen, size, boundaries=boundaries)

    return Split(len(corpus), batches, corpus, "document")


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


def check_digest(run, config, digest):
    """Refuses data that are not the split they are said to be.

    Args:
      run: a `Run`.
      config: with file and split.
      digest: SHA-256 of the data, as the run's run.json keeps it.
    """
    known = run.data.get(config.split)
    if config.split == "other" or not isinstance(known, str):
        return
    if known != digest:
        of = [name for name, theirs in run.data.items() if theirs == digest]
        found = f"the run's {of[0]} data" if of else "none of the run's splits"
        raise ValueError(
            f"file: expected the {config.split} data that the run in {run.workdir} knows, but "
            f"{config.file} holds {found}. Give the right --split or --file, or --split=other for "
            "data that the run does not know."
        )


def _images(run, config):
    """The run's split of the images that its training was given, or all images of another file."""
    if config.split == "other":
        parts = data.load_images(config.file)
        images = parts.get("all", parts.get("test"))
        if images is None:
            raise ValueError(
                f"file: expected images without parts, or a part named test, in {config.file}; got "
                f"the parts {', '.join(parts)}. Name a field, as in FILE@FIELD."
            )
    else:
        images = _reading(run, config)
    if not images.binary:
        images = images.binarized([run.configuration["data_seed"], 3])
    images = images.select(_first(config.max_examples))
    logging.info("%s", images.summary())
    size = min(config.batch_size or run.configuration["batch_size"], len(images))

    def batches(count):
        if count == len(images):
            return data.image_batches(images, size)  # Not copied.
        return data.image_batches(images.select(data.spread(count, len(images))), size)

    return Split(len(images), batches, None, "image")


def _reading(run, config):
    """The run's split: the reading of the file that has its digest.

    Raises:
      ValueError: none has; the message is about the first one.
    """
    first = None
    for images in readings(config.file, run.configuration, config.split):
        digest = images.digest()
        if digest == run.data.get(config.split):
            return images
        first = first or (images, digest)
    check_digest(run, config, first[1])
    return first[0]


READERS = {"text": _text, "image": _images}
