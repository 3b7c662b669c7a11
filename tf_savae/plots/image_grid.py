"""Plots a grid of images."""

import math
from typing import Any, NamedTuple

import numpy as np

from tf_savae.core.typing import PathLike, TensorLike

__all__ = ["Grid", "as_pictures", "save_grid"]

_GAP = 2  # pixels between images
_TILE = 0.62  # height of an image in inches
_LONGEST = 40.0  # longest side of the figure in inches


class Grid(NamedTuple):
    """A grid of images with its title and labels."""

    tiles: Any  # float [R, C, H, W]; NaN where there is no image
    title: str
    row_labels: Any  # one label per row
    column_labels: Any  # one label per column, or None
    column_axis: Any  # label of the column axis, or None


def as_pictures(x: TensorLike) -> np.ndarray:
    """Converts x of a model to images [N, H, W].

    Accepts [N, H, W], [N, H, W, 1] and rows [N, H W] of square images.

    Raises:
      ValueError: x has another shape.

    >>> as_pictures(np.zeros([3, 4])).shape
    (3, 2, 2)
    """
    x = np.asarray(x, np.float32)
    if x.ndim == 4 and x.shape[3] == 1:
        return x[..., 0]
    if x.ndim == 2 and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        side = math.isqrt(x.shape[1])
        return x.reshape(-1, side, side)
    if x.ndim != 3:
        raise ValueError(
            f"x: expected images [N, H, W], [N, H, W, 1] or square ones as rows, got shape "
            f"{list(x.shape)}."
        )
    return x


def save_grid(grid: Grid, file: PathLike) -> None:
    """Writes a `Grid` to a PNG file, which must not exist; 0 is white and 1 is black."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns, height, width = grid.tiles.shape
    margin = np.array([0.9, 0.35 if grid.column_labels is None else 0.75])  # for labels and title
    size = np.array([columns * _TILE * width / height, rows * _TILE])
    size = np.maximum(size * min(1.0, _LONGEST / size.max()) + margin, [3.6, 1.0])
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # Needs no display, independent of the configured backend.
    axes = figure.subplots()
    axes.imshow(_canvas(grid.tiles), cmap=_colours(), vmin=0, vmax=1, interpolation="nearest")
    _label(axes, grid, height, width)
    figure.suptitle(grid.title, fontsize=8, wrap=True)
    with open(file, "xb") as handle:  # Does not overwrite a file.
        figure.savefig(handle, format="png")


def _label(axes, grid, height, width):
    rows, columns = grid.tiles.shape[:2]
    axes.set_yticks(_centres(rows, height), grid.row_labels, fontsize=8)
    if grid.column_labels is None:
        axes.set_xticks([])
    else:
        axes.set_xticks(_centres(columns, width), grid.column_labels, fontsize=8)
        axes.set_xlabel(grid.column_axis, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _colours():
    """Returns the colour map: white for 0, black for 1, and light grey for NaN."""
    import matplotlib

    return matplotlib.colormaps["gray_r"].with_extremes(bad="#dde3ea")


def _centres(count, size):
    return (size + _GAP) * np.arange(count) + _GAP + (size - 1) / 2


def _canvas(tiles):
    """Arranges all images in one array [*, *] with gaps between them."""
    rows, columns, height, width = tiles.shape
    framed = np.full([rows, columns, height + _GAP, width + _GAP], np.nan)
    framed[:, :, _GAP:, _GAP:] = tiles
    sheet = framed.transpose(0, 2, 1, 3).reshape(rows * (height + _GAP), -1)
    return np.pad(sheet, [(0, _GAP), (0, _GAP)], constant_values=np.nan)
