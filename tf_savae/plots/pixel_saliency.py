"""Plots the pixel saliency of the latent variables."""

from pathlib import Path

import numpy as np

from tf_savae.plots.figure import new_figure

__all__ = ["save_pixels"]


def save_pixels(
    images: np.ndarray,
    saliency: np.ndarray,
    folder: Path,
    first: int = 1,
    name: str = "pixels",
    columns: int = 8,
) -> None:
    """Writes all images and saliency maps to `name`.npz, and a plot of some to `name`.png.

    Args:
      images: images [N, H, W].
      saliency: saliency maps [N, H, W], in nats per unit of z.
      folder: folder of both files.
      first: the first plotted image, counted from 1.
      name: name of the files without suffix.
      columns: number of plotted images.
    """
    np.savez(folder / f"{name}.npz", images=images, saliency=saliency)
    shown = range(first - 1, min(first - 1 + columns, len(images)))
    figure = new_figure(1.35 * len(shown) + 4.2, 3.9)
    grid = figure.add_gridspec(2, len(shown) + 2, width_ratios=[1] * len(shown) + [1.3, 1.3])
    high = float(np.quantile(saliency[list(shown)], 0.999)) or 1.0
    maps = []
    for column, index in enumerate(shown):
        above, below = (figure.add_subplot(grid[row, column]) for row in range(2))
        above.imshow(images[index], cmap="gray_r", vmin=0, vmax=1)
        above.set_title(f"image {index + 1}", fontsize=9)
        below.imshow(saliency[index], cmap="magma", vmin=0, vmax=high)
        maps.append(below)
        for axes in (above, below):
            axes.set_xticks([])
            axes.set_yticks([])
    figure.colorbar(
        maps[0].images[0],
        ax=maps,
        location="bottom",
        shrink=0.5,
        aspect=40,
        pad=0.02,
        label="‖∂ log p(pixel | pixels before) / ∂z‖ (nats per unit of z)",
    )
    mean = figure.add_subplot(grid[:, len(shown) :])
    drawn = mean.imshow(saliency.mean(axis=0), cmap="magma", vmin=0)
    mean.set_title(f"mean of {len(images):,} images", fontsize=9)
    mean.set_xlabel("column (pixels)")
    mean.set_ylabel("row (pixels)")
    figure.colorbar(drawn, ax=mean, shrink=0.7, label="nats per unit of z")
    figure.suptitle("Where the latent variables matter")
    figure.savefig(folder / f"{name}.png")
