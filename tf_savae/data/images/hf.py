"""Reads images from Hugging Face datasets."""

import numpy as np

from tf_savae.data.hf_source import chosen_column, opened, parse
from tf_savae.data.images.fit import AS_THEY_ARE, Fit

__all__ = ["hf_parts"]

_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def hf_parts(source: str, fit: Fit = AS_THEY_ARE) -> dict[str, np.ndarray]:
    """Returns the preprocessed images of `hf:NAME[,CONFIG][:SPLIT][@COLUMN]` by part.

    Without SPLIT, the parts are those of the dataset's splits train, validation and test that
    exist. COLUMN defaults to "image" or to the only image column.

    Raises:
      ModuleNotFoundError: the `datasets` library is not installed.
      ValueError: the dataset cannot be read, it has no such images, or the images have different
        sizes or are transparent.
    """
    split = parse(source)[2]
    found = opened(source, split)
    if split:
        return {"all": _images(source, found[split], fit)}
    parts = {part: found[name] for part, name in _SPLITS.items() if name in found}
    if "train" not in parts:
        raise ValueError(
            f"{source}: expected a split named train, got {', '.join(found)}. Name one, as in "
            "hf:NAME:SPLIT."
        )
    return {part: _images(source, rows, fit) for part, rows in parts.items()}


def _images(source, rows, fit):
    kinds = [name for name, kind in rows.features.items() if type(kind).__name__ == "Image"]
    column = chosen_column(source, rows.features, kinds, "image")
    images = [fit.one(_pixels(source, picture), source) for picture in rows[column]]
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1:
        sizes = f"{shapes[0]} to {shapes[-1]}" if shapes else "none"
        raise ValueError(
            f"{source}: expected images of one size, got {sizes}. Resize all of them "
            "(--image_size)."
        )
    return np.stack(images)


def _pixels(source, picture):
    """Converts a Pillow image to uint8 [H, W] or [H, W, 3]."""
    if picture is None:
        raise ValueError(f"{source}: expected an image in each row, got one without.")
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    if picture.mode not in ("RGB", "P") or "transparency" in picture.info:
        raise ValueError(
            f"{source}: expected opaque 8-bit images, greyscale or RGB, got mode {picture.mode}. "
            "Convert them first."
        )
    colours = np.asarray(picture.convert("RGB"))
    grey = np.all(colours == colours[..., :1])
    return colours[..., 0] if grey else colours
