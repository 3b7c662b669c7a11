"""Show images in TensorBoard."""

import tempfile
from pathlib import Path

import numpy as np

from tf_savae.data import spread
from tf_savae.plots.image_grid import save_grid
from tf_savae.tasks.image.examples import grid_of
from tf_savae.training.tensorboard import read_picture

__all__ = ["ImageView"]


class ImageView:
    """How a run on images shows what its model makes.

    Args:
      config: `ImageConfig`, for the title.
      images: `Images`.
    """

    unit = "image"

    def __init__(self, config, images):
        self._title, self._valid = f"{config.system}, seed {config.seed}", images.valid
        self.sampling, self.decoding = {}, {}

    def examples(self, count):
        """float32 [N, H, W, 1]: `count` validation images, spread evenly over them, or all."""
        chosen = self._valid.select(spread(count, len(self._valid)))
        x = chosen.probabilities(slice(None))
        return np.asarray(x, np.float32)[..., None]

    def samples(self, x, epoch):
        """A grid: rows of validation images, and below them as many images that the model drew."""
        return self._drawn("sample", x, self.examples(len(x)), epoch)

    def pairs(self, x, rebuilt, epoch):
        """A grid: rows of images, and below each row what the model made of their codes."""
        return self._drawn("reconstruct", rebuilt, x, epoch)

    def _drawn(self, mode, made, x, epoch):
        title = f"{self._title}, epoch {epoch + 1}"
        pictures = np.asarray(made)[..., 0]
        grid = grid_of(mode, pictures, [""] * len(pictures), x, title)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "grid.png"
            save_grid(grid, file)
            return read_picture(file)
