"""`ImageView`: formats images for TensorBoard."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tf_savae.core.typing import TensorLike
from tf_savae.data import spread
from tf_savae.plots.image_grid import save_grid
from tf_savae.tasks.image.config import ImageConfig
from tf_savae.tasks.image.data import Images
from tf_savae.tasks.image.examples import grid_of
from tf_savae.training.tensorboard import read_picture

__all__ = ["ImageView"]


class ImageView:
    """Formats the samples and reconstructions of a run on images.

    Args:
      config: `ImageConfig`, for the title.
      images: `Images`.
    """

    unit = "image"

    def __init__(self, config: ImageConfig, images: Images) -> None:
        self._title, self._valid = f"{config.system}, seed {config.seed}", images.valid
        self.sampling: dict[str, Any] = {}
        self.decoding: dict[str, Any] = {}

    def examples(self, count: int) -> np.ndarray:
        """Returns `count` evenly spaced validation images, or all, float32 [N, H, W, 1]."""
        chosen = self._valid.select(spread(count, len(self._valid)))
        x = chosen.probabilities(slice(None))
        return np.asarray(x, np.float32)[..., None]

    def samples(self, x: TensorLike, epoch: int) -> np.ndarray:
        """Returns a grid: rows of validation images, then as many samples of the model."""
        return self._drawn("sample", x, self.examples(len(x)), epoch)

    def pairs(self, x: np.ndarray, rebuilt: TensorLike, epoch: int) -> np.ndarray:
        """Returns a grid: rows of images, each followed by a row of reconstructions."""
        return self._drawn("reconstruct", rebuilt, x, epoch)

    def _drawn(self, mode, made, x, epoch):
        title = f"{self._title}, epoch {epoch + 1}"
        pictures = np.asarray(made)[..., 0]
        grid = grid_of(mode, pictures, [""] * len(pictures), x, title)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "grid.png"
            save_grid(grid, file)
            return read_picture(file)
