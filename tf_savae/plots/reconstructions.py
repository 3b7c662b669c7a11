"""Plots examples with their reconstructions."""

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN, NEUTRAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_reconstructions"]

_COLUMNS = 10


def plot_reconstructions(
    model: Any, data: Any, file: PathLike | None = None, *, count: int = 10, seed: int = 0
) -> "Figure":
    """Plots examples, and below each its reconstruction from the refined posterior mean.

    Rows whose length is a square number are plotted as square images, and other rows as curves. The
    reconstruction is the mean of p(x | z) if the decoder has a distribution, and a sample
    otherwise.

    Args:
      model: a `SemiAmortizedVAE` of images or arrays, or reconstructions in the shape of `data`.
      data: x [N, ...]: [N, D], [N, H, W], [N, H, W, 1] or [N, H, W, 3] with colours in [0, 1].
      file: PNG file to write, replacing an existing one; None for no file.
      count: largest number of examples, from the first on.
      seed: seed of the samples.

    Raises:
      ValueError: data are not images or rows, or reconstructions have another shape.

    >>> x = np.random.default_rng(0).random((3, 4, 4))
    >>> len(plot_reconstructions(0.9 * x, x).axes)
    6
    """
    x = np.asarray(data)[:count]
    made = _reconstructed(model, x, seed) if isinstance(model, keras.Model) else model
    made = np.asarray(made)[:count]
    if made.shape != x.shape or not len(x):
        raise ValueError(
            f"model: expected reconstructions of the shape of data, {list(x.shape)}, got "
            f"{list(made.shape)}."
        )
    pictures = [_drawable(values) for values in (x, made)]
    return finished((_images if pictures[0].ndim > 2 else _rows)(*pictures), file)


def _reconstructed(model, x, seed):
    if hasattr(model.decoder, "distribution"):
        return np.reshape(model.decode(model.infer(x, seed=seed).mean(), mean=True), x.shape)
    return np.reshape(model.reconstruct(x, seed=seed), x.shape)


def _drawable(x):
    """Converts x to images [N, H, W] or [N, H, W, 3], or to rows [N, D]."""
    x = np.asarray(x, float)
    if x.ndim == 2 and x.shape[1] > 3 and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        return x.reshape(len(x), math.isqrt(x.shape[1]), -1)
    if x.ndim == 4 and x.shape[3] == 1:
        return x[..., 0]
    if x.ndim in (2, 3) or (x.ndim == 4 and x.shape[3] == 3):
        return x
    raise ValueError(
        f"data: expected rows [N, D] or images [N, H, W], [N, H, W, 1] or [N, H, W, 3], got shape "
        f"{list(x.shape)}."
    )


def _images(x, made):
    columns = min(_COLUMNS, len(x))
    bands = -(-len(x) // columns)
    figure = new_figure(max(1.0 * columns + 1.0, 3.6), 2.1 * bands + 0.5)
    grid: Any = figure.subplots(2 * bands, columns, squeeze=False)
    scale = {"vmin": min(x.min(), 0.0), "vmax": max(x.max(), 1.0), "cmap": "gray_r"}
    for axes in grid.flat:
        axes.set_axis_off()
    for number in range(len(x)):
        band, column = divmod(number, columns)
        for row, (label, images) in enumerate((("data", x), ("model", made))):
            axes = grid[2 * band + row, column]
            options = {} if images.ndim == 4 else scale
            axes.imshow(np.clip(images[number], 0, 1) if not options else images[number], **options)
            if column == 0:
                place = {"transform": axes.transAxes, "ha": "right", "va": "center"}
                axes.text(-0.12, 0.5, label, **place)
    for axes in [a for a in grid.flat if not a.images]:
        axes.remove()
    figure.suptitle("Data, and below each its reconstruction")
    return figure


def _rows(x, made):
    from matplotlib.ticker import MaxNLocator

    columns = min(5, len(x))
    figure = new_figure(2.6 * columns + 0.6, 2.2 * (-(-len(x) // columns)) + 0.9)
    shape = (-(-len(x) // columns), columns)
    grid: Any = figure.subplots(*shape, squeeze=False, sharey=True, sharex=True)
    for axes, values, own in zip(grid.flat, x, made, strict=False):
        axes.plot(values, "o-", color=NEUTRAL, ms=3, lw=1, label="data")
        axes.plot(own, "-", color=MAIN, lw=1.6, label="reconstruction")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in list(grid.flat)[len(x) :]:
        axes.remove()
    figure.supxlabel("entry of x")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
    return figure
