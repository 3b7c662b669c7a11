"""Reads a split of images, as batches, for the evaluation of a finished run."""

import itertools
from typing import Any

from absl import logging

from tf_savae import data
from tf_savae.tasks.image.data import load_parts, readings
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split, check_digest

__all__ = ["read_image_split"]


def read_image_split(run: Run, config: Any) -> Split:
    """Returns the run's split of its training source, or all images of another file.

    Args:
      run: a `Run` on images.
      config: object with file, split, max_examples and batch_size.

    Raises:
      ValueError: the file is invalid, or it is not the declared split.
    """
    if config.split == "other":
        parts = load_parts(config.file, run.configuration)
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
    images = images.select(slice(config.max_examples or None))
    logging.info("%s", images.summary())
    size = min(config.batch_size or run.configuration["batch_size"], len(images))

    def batches(count):
        if count == len(images):
            return data.image_batches(images, size)  # Avoids a copy.
        return data.image_batches(images.select(data.spread(count, len(images))), size)

    return Split(len(images), batches, "image")


def _reading(run, config):
    """Returns the candidate of `readings` with the digest of the run's split.

    Raises:
      ValueError: no candidate has this digest; the message describes the first one.
    """
    candidates = readings(config.file, run.configuration, config.split)
    first = next(candidates)  # `readings` raises an error if there is none.
    for images in itertools.chain([first], candidates):
        if images.digest() == run.data.get(config.split):
            return images
    check_digest(run, config, first.digest())
    return first
