"""Reads example images for generate.py, and writes a labelled grid."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tf_savae.plots.image_grid import Grid, as_pictures, save_grid
from tf_savae.tasks.image.data import load_parts
from tf_savae.training.finished_run import Run

__all__ = ["grid_of", "read_examples", "save_images"]

_COLUMNS = 10
_PARTS = ("test", "all", "valid", "train")  # Order of preference if a file has several parts.


def read_examples(config: Any, run: Run) -> np.ndarray:
    """Returns the examples of config.file for the mode, as inputs of the model, float32 [N, ...].

    Grey images are binarised once with the seed, as for evaluation.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the images do not have the size of the run's images, or are too few.
    """
    parts = load_parts(config.file, run.configuration)
    images = next(parts[part] for part in _PARTS if part in parts)
    logging.info("%s", images.summary())
    numbers = config.example_numbers(len(images), f"images of {images.source}")
    chosen = images.select(numbers).binarized(config.seed or 0)
    x = chosen.probabilities(slice(None))[..., None]
    return _as_trained_on(x, run, images.source)


def _as_trained_on(x, run, source):
    """Reshapes x to the shape of the training data: images, or flat rows of the same size."""
    shape, dtype = run.model.data_spec
    if None not in shape and math.prod(shape) != math.prod(x.shape[1:]):
        raise ValueError(
            f"file: the run was trained on images of shape {list(shape)}, but those of {source} "
            f"have shape {list(x.shape[1:])}. Use images of that shape."
        )
    return (x if None in shape else x.reshape(len(x), *shape)).astype(dtype)


def save_images(
    config: Any,
    run: Run,
    x: np.ndarray | None,
    drawn: Any,
    labels: Sequence[str],
    picture: Path,
    archive: Path,
) -> None:
    """Writes the grid as PNG, and images, latent variables, data and labels as .npz."""
    arrays = {"x": drawn.x, "z": drawn.z, "labels": np.array(labels)}
    if x is not None:
        arrays["data"] = x
    with open(archive, "xb") as handle:  # Does not overwrite a file.
        np.savez_compressed(handle, **arrays)
    title = f"{run.system}, seed {config.seed or 0}"
    shown = grid_of(config.mode_or_default(), as_pictures(drawn.x), labels, x, title)
    save_grid(shown, picture)


def grid_of(
    mode: str, pictures: np.ndarray, labels: Sequence[str], x: np.ndarray | None, title: str
) -> Grid:
    """Returns the `Grid` of the images of a mode.

    Args:
      mode: as in `GenerateConfig`.
      pictures: images [N, H, W].
      labels: one label per image.
      x: the data, or None; with mode "sample", examples for comparison.
      title: end of the title.
    """
    if mode == "interpolate":
        ends = np.full_like(pictures, np.nan)
        ends[[0, -1]] = as_pictures(x)
        title = f"interpolation between two examples, {title}"
        return Grid(
            np.stack([ends, pictures]), title, ["data", "model"], labels, "position on the path"
        )
    if mode == "traverse":
        dimensions, changes = zip(*[label.split(" ") for label in labels], strict=True)
        codes, columns = list(dict.fromkeys(dimensions)), list(dict.fromkeys(changes))
        tiles = pictures.reshape(len(codes), len(columns), *pictures.shape[1:])
        center = "prior mean" if x is None else "posterior mean of an example"
        title = f"traversal of latent dimensions around the {center}, {title}"
        return Grid(tiles, title, codes, columns, "change in the dimension")
    if mode == "reconstruct":
        pairs = zip(_bands(as_pictures(x)), _bands(pictures), strict=True)
        rows = [row for pair in pairs for row in pair]
        names = [f"{name} {which}" for which in _numbers(pictures) for name in ("data", "model")]
        return Grid(np.stack(rows), f"reconstructions, {title}", names, None, None)
    names, rows = _numbers(pictures), _bands(pictures)
    title = f"samples from the prior, {title}"
    if x is not None:
        real = as_pictures(x)
        names = [*(f"data {n}" for n in _numbers(real)), *(f"model {n}" for n in names)]
        rows, title = [*_bands(real), *rows], f"data, and {title}"
    return Grid(np.stack(rows), title, names, None, None)


def _numbers(pictures):
    """Returns the range of image numbers in each row of the grid, counted from 1."""
    firsts = range(1, len(pictures) + 1, _COLUMNS)
    return [f"{first}–{min(first + _COLUMNS - 1, len(pictures))}" for first in firsts]


def _bands(pictures):
    """Splits images into rows of the grid, [C, H, W] each, padded with NaN."""
    columns = min(_COLUMNS, len(pictures))
    missing = -len(pictures) % columns
    filled = np.concatenate([pictures, np.full([missing, *pictures.shape[1:]], np.nan)])
    return list(filled.reshape(-1, columns, *pictures.shape[1:]))
