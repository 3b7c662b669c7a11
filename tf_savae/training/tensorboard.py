"""TensorBoard callbacks: samples, reconstructions and figures after each epoch of a run."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae import generation
from tf_savae.analysis.path import follower, refinement_path
from tf_savae.core import seeds, validation
from tf_savae.core.function_cache import FunctionCache
from tf_savae.core.noise_streams import NoiseStream
from tf_savae.core.typing import Nest, PathLike
from tf_savae.models import NonFiniteError
from tf_savae.objectives.lookup import has_latent
from tf_savae.plots.history import save_history
from tf_savae.plots.refinement_path import save_path
from tf_savae.training.config import RunConfig
from tf_savae.training.storage.checkpoints import Checkpoints
from tf_savae.training.storage.workdir import Workdir

__all__ = ["Board", "BoardFigures", "BoardSamples", "boards", "read_picture"]

_BATCH = 32  # Rows at a time; does not affect the samples.
_NOISES = 5  # Samples of z in each ELBO of the path.
_FOLLOWED = 16  # Validation examples in the refinement figure, at most one batch.


def boards(
    config: RunConfig, folder: Workdir, view: Any, checkpoints: Checkpoints
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks for `config.board_samples` of at least 1.

    Args:
      config: `RunConfig`.
      folder: `Workdir`: event files go to tensorboard/, figures with their arrays to figures/.
      view: the view returned by `Task.view`.
      checkpoints: `Checkpoints`, whose state contains the history.
    """
    logs, seed = folder / "tensorboard", config.seed
    return [
        BoardSamples(logs / "samples", view, config.board_samples, seed),
        BoardFigures(
            logs / "figures",
            folder / "figures",
            lambda: checkpoints.state.get("history", []),
            unit=view.unit,
            x=view.examples(min(_FOLLOWED, config.batch_size)),
            seed=seed,
        ),
    ]


class Board(keras.callbacks.Callback):
    """Base class of callbacks that write the texts and images of `entries` after each epoch.

    Place it *after* the callback that saves the checkpoint, so that an epoch is saved even if its
    entries cannot be written. Errors are logged as warnings, and the next epoch is written again.
    Steps are epochs counted from 0, as in `keras.callbacks.TensorBoard`, so that images have the
    same steps as the scalars of their epoch.

    Args:
      logs: folder of the event files; TensorBoard shows each folder below --logdir as one run.
    """

    def __init__(self, logs: PathLike) -> None:
        super().__init__()
        self._logs = str(logs)
        self._writer: Any = None

    def entries(self, epoch: int) -> Iterator[tuple[str, str | np.ndarray]]:
        """Yields (tag, value), where a value is Markdown (str) or an image (uint8 [H, W, 3]).

        Args:
          epoch: epoch, counted from 0.
        """
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        try:
            for tag, value in self.entries(epoch):
                self._write(epoch, tag, value)
        except Exception as error:  # noqa: BLE001 Must not interrupt training.
            logging.warning(
                "%s could not show epoch %d in TensorBoard; training continues: %s: %s",
                type(self).__name__,
                epoch + 1,
                type(error).__name__,
                error,
            )

    def _write(self, epoch, tag, value):
        if self._writer is None:  # Creates no file before the first event.
            self._writer = tf.summary.create_file_writer(self._logs)
        with self._writer.as_default(step=epoch):
            if isinstance(value, str):
                tf.summary.text(tag, value)
            else:
                tf.summary.image(tag, value[None])
        self._writer.flush()  # On disk before the next epoch, in which the run may be killed.

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def read_picture(file: Path) -> np.ndarray:
    """Reads a PNG file as uint8 [H, W, 3]."""
    return tf.io.decode_png(file.read_bytes(), channels=3).numpy()


class BoardSamples(Board):
    """Writes samples from the prior and reconstructions of fixed validation examples.

    For models without latent variables, only samples are written. Reconstructions are decoded from
    the mean of the refined posterior. The samples of epoch e depend only on the weights and
    (seed, e), so a resumed run writes the same as an uninterrupted one. The random state of
    training is not used.

    Args:
      logs: folder of the event files.
      view: the view returned by `Task.view`, which selects and formats examples.
      count: number of samples, and of reconstructions.
      seed: int, seed of the run.

    Raises:
      ValueError: count is not an integer of at least 1.
    """

    def __init__(self, logs: PathLike, view: Any, count: int, seed: int = 0) -> None:
        super().__init__(logs)
        self._view, self._count = view, validation.positive_int("count", count)
        self._seed = seeds.fold(seed, NoiseStream.SAMPLES)
        self._examples = view.examples(count)

    def entries(self, epoch: int) -> Iterator[tuple[str, str | np.ndarray]]:
        view = self._view
        sampling, rebuilding = seeds.split(seeds.fold(self._seed, epoch), 2)
        batch = min(self._count, _BATCH)
        drawn = generation.sample(
            self.model, self._count, sampling, batch_size=batch, **view.sampling
        )
        yield "samples", view.samples(_sound(drawn, "samples").x, epoch)
        if not has_latent(self.model):
            return
        x = self._examples
        settings = {"mean": True, "batch_size": min(len(x), batch), **view.decoding}
        rebuilt = generation.reconstruct(self.model, x, rebuilding, **settings)
        shown = view.pairs(x, _sound(rebuilt, "reconstructions").x, epoch)
        yield "reconstructions", shown


def _sound(drawn, what):
    """Returns `drawn` if z is finite; ids and pixels sampled from NaN would look valid."""
    if not np.isfinite(drawn.z).all():
        raise NonFiniteError(f"the latent variables of the {what} contain NaN or infinite values")
    return drawn


class BoardFigures(Board):
    """Plots bound and KL against epoch, and the ELBO against refinement step on a fixed batch.

    The newest figures are `history.png` and `refinement.png`, each with its arrays in an .npz
    file; TensorBoard has the figures of all epochs. The refinement uses the same noise after every
    epoch.

    Args:
      logs: folder of the event files.
      folder: folder of figures and arrays; created if needed. Files of an earlier epoch are
        replaced.
      history: () -> the current rows of history.json.
      unit: name of one example.
      x: array [B, ...], the examples of the refinement figure, if the model takes steps.
      seed: int.
    """

    def __init__(
        self,
        logs: PathLike,
        folder: PathLike,
        history: Callable[[], list[dict[str, Any]]],
        x: Nest,
        unit: str = "example",
        seed: int = 0,
    ) -> None:
        super().__init__(logs)
        self._folder, self._history, self._unit = Path(folder), history, unit
        self._x, self._seed = x, seeds.fold(seed, NoiseStream.FIGURES)
        self._followers = FunctionCache()

    def entries(self, epoch: int) -> Iterator[tuple[str, str | np.ndarray]]:
        rows = self._history()
        yield "history", self._published("history", save_history, rows, unit=self._unit)
        if getattr(self.model, "inference_steps", 0):  # The autoregressive model has no steps.
            settings = {"family": self.model.family, "unit": self._unit}
            yield "refinement", self._published("refinement", save_path, self._path(), **settings)

    def _published(self, name, save, what, **settings):
        """Writes a figure to a temporary folder, then moves its files into place, arrays first."""
        new = self._folder / ".new"
        shutil.rmtree(new, ignore_errors=True)  # Left by a killed process.
        new.mkdir(parents=True)
        save(what, new, name=name, **settings)
        for suffix in (".npz", ".png"):
            os.replace(new / f"{name}{suffix}", self._folder / f"{name}{suffix}")
        new.rmdir()
        return read_picture(self._folder / f"{name}.png")

    def _path(self):
        """Returns the `RefinementPath` of the batch."""
        steps = self.model.inference_steps
        # Without XLA, whose compilation takes longer than it saves for so few examples.
        run = self._followers.get(steps, follower(self.model, steps, _NOISES))
        dataset = tf.data.Dataset.from_tensors(self._x)
        path = refinement_path(self.model, dataset, steps, seed=self._seed, run=run)
        if not np.isfinite(path.bound).all():
            raise NonFiniteError("the ELBO became NaN or infinite during refinement")
        return path
