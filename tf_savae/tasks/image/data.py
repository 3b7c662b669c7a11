"""Reads, splits and binarises the images of a run."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae import data
from tf_savae.tasks.image.config import ImageConfig

__all__ = ["Images", "load_image_sets", "load_parts", "load_sets", "readings"]

_PARTS = ("train", "valid", "test")
_LIMITS = {"train": "max_train_images", "valid": "max_eval_images", "test": "max_eval_images"}


@dataclasses.dataclass(frozen=True)
class Images:
    """Training images, grey or binary, and binary images for evaluation."""

    train: Any
    valid: Any
    test: Any
    batch_size: int

    def steps_per_epoch(self) -> int:
        """Returns the number of full batches in one pass over the training images."""
        return data.image_steps_per_epoch(self.train, self.batch_size)

    def once(self, images: data.ImageSet) -> tf.data.Dataset:
        """Returns a dataset of one pass in fixed order, for evaluation."""
        return data.image_batches(images, self.batch_size)

    def stream(self, seed: int, start_step: int) -> tf.data.Dataset:
        """Returns an infinite dataset of shuffled training images that skips the first steps."""
        return data.image_stream(self.train, self.batch_size, seed=seed, start_step=start_step)

    def identity(self) -> dict[str, str]:
        """Returns the SHA-256 of each set, which identify the images."""
        return {part: getattr(self, part).digest() for part in _PARTS}

    def facts(self) -> dict[str, Any]:
        """Returns facts about the images for the report."""
        return {
            "images": {part: len(getattr(self, part)) for part in _PARTS},
            "image_shape": list(self.train.shape),
            "grey": not self.train.binary,
        }

    def measures(self, name: str, nll: np.ndarray) -> dict[str, float]:
        """Returns bits per pixel, for the report, from the NLL of each test image in nats."""
        height, width = self.test.shape
        bits = float(np.mean(nll)) / (height * width * np.log(2.0))
        return {f"{name}_bits_per_pixel".lstrip("_"): bits}


def load_image_sets(config: ImageConfig) -> Images:
    """Loads the `Images` of an `ImageConfig` and logs a summary.

    Raises:
      ValueError: the images are invalid, too few, or differ in size between the sets.
      FileNotFoundError: a file or folder does not exist.
    """
    others = {"valid": config.valid_images, "test": config.test_images}
    sets = load_sets(config.images, dataclasses.asdict(config), others)
    for part, images in sets.items():
        logging.info("%s: %s", part, images.summary())
    found = Images(**sets, batch_size=config.batch_size)
    found.steps_per_epoch()  # Raises an error now if there are too few images.
    return found


def load_parts(source: str, settings: dict[str, Any]) -> dict[str, data.ImageSet]:
    """Calls `tf_savae.data.load_images` with the preprocessing of a run.

    Args:
      source: as for `tf_savae.data.load_images`.
      settings: dict of an `ImageConfig`'s fields. Runs of an earlier version have no preprocessing
        fields, since images were not preprocessed.
    """
    size, grey = settings.get("image_size", 0), settings.get("to_grey", False)
    return data.load_images(source, size=size or None, grey=grey)


def load_sets(
    source: str, settings: dict[str, Any], others: dict[str, str] | None = None
) -> dict[str, data.ImageSet]:
    """Returns the sets of a run, {"train", "valid", "test"}; evaluation sets are binary.

    Args:
      source: as for `tf_savae.data.load_images`; all images, or only the training images.
      settings: dict of an `ImageConfig`'s fields, such as a run's configuration.
      others: dict of separate sources of "valid" and "test"; "" if there is no separate source.

    Raises:
      ValueError, FileNotFoundError: as for `load_image_sets`.
    """
    parts = load_parts(source, settings)
    for part, place in (others or {}).items():
        if place:
            found = load_parts(place, settings)
            _check_found(place, part, found)
            parts[part] = found[part] if part in found else found["all"]
    sets = _split(parts, settings)
    sets = {part: _used(images, part, settings) for part, images in sets.items()}
    _check_sizes(sets)
    return sets


def readings(source: str, settings: dict[str, Any], part: str) -> Iterator[data.ImageSet]:
    """Yields each `ImageSet` that `source` can give for one `part` of a run.

    A run does not record whether other parts had separate sources (--valid_images and
    --test_images), which affects the split. It records the digests of its parts, with which the
    caller finds the right candidate. The first candidate assumes that all parts came from
    `source`.

    Args:
      source: as for `tf_savae.data.load_images`; the source of this part in training.
      settings: dict of an `ImageConfig`'s fields, such as a run's configuration.
      part: "train", "valid" or "test".

    Raises:
      FileNotFoundError: as for `tf_savae.data.load_images`.
      ValueError: the source cannot be read, or it gives no candidate for this part.
    """
    parts = load_parts(source, settings)
    elsewhere = [other for other in ("valid", "test") if other != part]
    problem, possible = None, False
    for count in range(len(elsewhere) + 1):
        for others in itertools.combinations(elsewhere, count):
            # Any images can replace those of a separate source; they do not affect this part.
            stand_ins = dict.fromkeys(others, next(iter(parts.values())))
            try:
                images = _split({**parts, **stand_ins}, settings)[part]
            except ValueError as error:  # Too few images, for example.
                problem = problem or error
                continue
            possible = True
            yield _used(images, part, settings)
    if part != "train" and (part in parts or "all" in parts):
        possible = True
        yield _used(parts.get(part, parts.get("all")), part, settings)
    if problem is not None and not possible:
        raise problem


def _split(parts, settings):
    return data.split_images(
        parts,
        valid_size=settings["valid_size"],
        test_size=settings["test_size"],
        seed=settings["data_seed"],
    )


def _used(images, part, settings):
    """Returns the images of a part that a run uses; those of evaluation are binary."""
    generator = np.random.default_rng([settings["data_seed"], _PARTS.index(part)])
    images = _some(images, settings[_LIMITS[part]], generator)
    return images if part == "train" else images.binarized(generator)


def _check_found(place, part, found):
    if part not in found and "all" not in found:
        raise ValueError(
            f"{part}_images: expected images, or a part named {part}, in {place}; got the parts "
            f"{', '.join(found)}. Name a field, as in FILE@FIELD."
        )


def _some(images, count, generator):
    """Returns `count` random images; the first ones may all be of a few alphabets or digits."""
    if not count or count >= len(images):
        return images
    return images.select(np.sort(generator.permutation(len(images))[:count]))


def _check_sizes(sets):
    shapes = {part: images.shape for part, images in sets.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected images of one size in all three sets, got {shapes}.")
