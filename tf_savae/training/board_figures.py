"""TensorBoard: the figures of a training so far, which also stand in a folder with their arrays."""

import os
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_savae.analysis.path import follower, refinement_path
from tf_savae.core import seeds
from tf_savae.models import NonFiniteError
from tf_savae.training.board import Board, read_picture
from tf_savae.training.history_plot import save_history
from tf_savae.training.path_plot import save_path

__all__ = ["BoardFigures"]

_STREAM = 3  # Of noise: 0 to 2 are training, evaluation and the samples.
_NOISES = 5  # Samples of z in each ELBO of the path.


class BoardFigures(Board):
    """Bound and KL against epoch, and the ELBO against refinement step on a fixed batch.

    The newest of each is `history.png` and `refinement.png`, with arrays in an .npz beside it;
    TensorBoard has those of all epochs. The refinement draws the same noise after every epoch.

    Args:
      logs: folder of the event files.
      folder: where pictures and arrays go; made if needed. What it holds of an earlier epoch is
        replaced.
      history: () -> the rows of history.json so far.
      unit: what an example is called.
      x: array [B, ...], the examples whose refinement is followed if the model takes steps.
      seed: int.
    """

    def __init__(self, logs, folder, history, x, unit="example", seed=0):
        super().__init__(logs)
        self._folder, self._history, self._unit = Path(folder), history, unit
        self._x, self._seed, self._follow = x, seeds.fold(seed, _STREAM), None

    def entries(self, epoch):
        rows = self._history()
        yield "history", self._published("history", save_history, rows, unit=self._unit)
        if getattr(self.model, "inference_steps", 0):  # A baseline without a code has none.
            settings = {"family": self.model.family, "unit": self._unit}
            yield "refinement", self._published("refinement", save_path, self._path(), **settings)

    def _published(self, name, save, what, **settings):
        """Draws apart and moves, arrays first: a file is there whole or not at all."""
        new = self._folder / ".new"
        shutil.rmtree(new, ignore_errors=True)  # Of a process that was killed while it drew.
        new.mkdir(parents=True)
        save(what, new, name=name, **settings)
        for suffix in (".npz", ".png"):
            os.replace(new / f"{name}{suffix}", self._folder / f"{name}{suffix}")
        new.rmdir()
        return read_picture(self._folder / f"{name}.png")

    def _path(self):
        """The `RefinementPath` of the batch."""
        steps = self.model.inference_steps
        if self._follow is None:
            # Without XLA: compiling takes longer than so few examples can give back.
            self._follow = tf.function(follower(self.model, steps, _NOISES), autograph=False)
        dataset = tf.data.Dataset.from_tensors(self._x)
        path = refinement_path(self.model, dataset, steps, seed=self._seed, run=self._follow)
        if not np.isfinite(path.bound).all():
            raise NonFiniteError("the ELBO became NaN or infinite during refinement")
        return path
