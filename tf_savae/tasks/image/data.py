"""Read, split and binarise the images of a run."""

import dataclasses
import itertools
from typing import Any

import numpy as np
from absl import logging

from tf_savae import data

__all__ = ["Images", "load_image_sets", "load_parts", "load_sets", "readings"]

_PARTS = ("train", "valid", "test")
_LIMITS = {"train": "max_train_images", "valid": "max_eval_images", "test": "max_eval_images"}


@dataclasses.dataclass(frozen=True)
class Images:
    """Training images, grey or binary, and the binary ones of evaluation."""

    train: Any
    valid: Any
    test: Any
    batch_size: int

    def steps_per_epoch(self):
        """Whole batches of one pass over the training images."""
        return data.image_steps_per_epoch(self.train, self.batch_size)

    def once(self, images):
        """One pass in fixed order, for evaluation."""
        return data.image_batches(images, self.batch_size)

    def stream(self, seed, start_step):
        """Endless shuffled passes over the training images, without the first steps."""
        return data.image_stream(self.train, self.batch_size, seed=seed, start_step=start_step)

    def identity(self):
        """What tells these images from others: SHA-256 of each set."""
        return {part: getattr(self, part).digest() for part in _PARTS}

    def facts(self):
        """What the report says of these images."""
        return {
            "images": {part: len(getattr(self, part)) for part in _PARTS},
            "image_shape": list(self.train.shape),
            "grey": not self.train.binary,
        }

    def measures(self, name, nll):
        """What the report derives from the NLL of each test image, in nats: bits per pixel."""
        height, width = self.test.shape
        bits = float(np.mean(nll)) / (height * width * np.log(2.0))
        return {f"{name}_bits_per_pixel".lstrip("_"): bits}


def load_image_sets(config):
    """The `Images` of an `ImageConfig`; what they are is logged.

    Raises:
      ValueError: the images cannot be used, are too few, or differ in size between the sets.
      FileNotFoundError: a file or folder is missing.
    """
    others = {"valid": config.valid_images, "test": config.test_images}
    sets = load_sets(config.images, dataclasses.asdict(config), others)
    for part, images in sets.items():
        logging.info("%s: %s", part, images.summary())
    images = Images(**sets, batch_size=config.batch_size)
    images.steps_per_epoch()  # Says now whether there are enough of them.
    return images


def load_parts(source, settings):
    """`tf_savae.data.load_images` as the settings of a run say: dict of an `ImageConfig`'s fields.

    Runs of an earlier version do not name them: images were as they are.
    """
    size, grey = settings.get("image_size", 0), settings.get("to_grey", False)
    return data.load_images(source, size=size or None, grey=grey)


def load_sets(source, settings, others=None):
    """{"train", "valid", "test"}: the sets that a run uses, those of evaluation binary.

    Args:
      source: as for `tf_savae.data.load_images`; all images, or those to train on.
      settings: dict of an `ImageConfig`'s fields, such as a run's configuration.
      others: sources of "valid" and "test" where these are in another place ("": they are not).

    Raises:
      ValueError, FileNotFoundError: as `load_image_sets`.
    """
    parts = load_parts(source, settings)
    for part, place in (others or {}).items():
        if place:
            found = load_parts(place, settings)
            parts[part] = found.get(part, found.get("all"))
            _check_found(place, part, found)
    sets = _split(parts, settings)
    sets = {part: _used(images, part, settings) for part, images in sets.items()}
    _check_sizes(sets)
    return sets


def readings(source, settings, part):
    """Yields each `ImageSet` that the images of `source` may be as a `part` of a run.

    A run does not say whether other parts came from places of their own, as --valid_images and
    --test_images name them; it knows its parts' digests, which tell which reading is right. The
    first one is that of a run whose images all came from `source`.

    Args:
      source: as for `tf_savae.data.load_images`; what the training was given for this part.
      settings: dict of an `ImageConfig`'s fields, such as a run's configuration.
      part: "train", "valid" or "test".

    Raises:
      FileNotFoundError: as `tf_savae.data.load_images`.
      ValueError: it cannot be read, or in no way as this part.
    """
    parts = load_parts(source, settings)
    elsewhere = [other for other in ("valid", "test") if other != part]
    problem, possible = None, False
    for count in range(len(elsewhere) + 1):
        for others in itertools.combinations(elsewhere, count):
            # Any images stand for those of another place: they decide no number of this part.
            stand_ins = dict.fromkeys(others, next(iter(parts.values())))
            try:
                images = _split({**parts, **stand_ins}, settings)[part]
            except ValueError as error:  # Too few, say, for what was in another place.
                problem = problem or error
                continue
            possible = True
            yield _used(images, part, settings)
    if part != "train" and (part in parts or "all" in parts):
        possible = True
        yield _used(parts.get(part, parts.get("all")), part, settings)
    if not possible:
        raise problem


def _split(parts, settings):
    return data.split_images(
        parts,
        valid_size=settings["valid_size"],
        test_size=settings["test_size"],
        seed=settings["data_seed"],
    )


def _used(images, part, settings):
    """The images of a part that a run uses, those of evaluation binary."""
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
    """`count` images at random: the first ones would be those of a few alphabets or digits."""
    if not count or count >= len(images):
        return images
    return images.select(np.sort(generator.permutation(len(images))[:count]))


def _check_sizes(sets):
    shapes = {part: images.shape for part, images in sets.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"expected images of one size in all three sets, got {shapes}.")
