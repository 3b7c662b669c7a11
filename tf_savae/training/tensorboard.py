"""TensorBoard beyond scalars: samples, reconstructions and figures of each epoch of a run."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae import generation
from tf_savae.analysis.path import follower, refinement_path
from tf_savae.core import seeds, validation
from tf_savae.core.function_cache import FunctionCache
from tf_savae.core.noise_streams import NoiseStream
from tf_savae.models import NonFiniteError
from tf_savae.objectives.lookup import has_latent
from tf_savae.plots.history import save_history
from tf_savae.plots.refinement_path import save_path

__all__ = ["Board", "BoardFigures", "BoardSamples", "boards", "read_picture"]

_BATCH = 32  # Rows at a time; of no effect on what is drawn.
_NOISES = 5  # Samples of z in each ELBO of the path.
_FOLLOWED = 16  # Validation examples whose refinement is followed, if a batch holds so many.


def boards(config, folder, view, checkpoints):
    """The callbacks that `config.board_samples`, at least 1, asks for.

    Args:
      config: `RunConfig`.
      folder: `Workdir`: event files go to tensorboard/, figures with their arrays to figures/.
      view: what `Task.view` returned.
      checkpoints: `Checkpoints`, whose state holds the history.
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
    """Writes the texts and pictures of `entries` at the end of each epoch.

    It belongs *after* the callback that saves the checkpoint: then an epoch that could not be
    shown, whatever the reason, is trained and saved all the same. What went wrong is logged as a
    warning, and the next epoch is shown again. Steps are counted as `keras.callbacks.TensorBoard`
    counts epochs, from 0, so that pictures stand where the scalars of their epoch do.

    Args:
      logs: folder of the event files: a folder below TensorBoard's --logdir is a run of its own.
    """

    def __init__(self, logs):
        super().__init__()
        self._logs, self._writer = str(logs), None

    def entries(self, epoch):
        """Yields (tag, value): a str is Markdown, a uint8 array [H, W, 3] a picture.

        Args:
          epoch: counted from 0.
        """
        raise NotImplementedError

    def on_epoch_end(self, epoch, logs=None):
        try:
            for tag, value in self.entries(epoch):
                self._write(epoch, tag, value)
        except Exception as error:  # noqa: BLE001 Pictures are not worth a training.
            logging.warning(
                "%s could not show epoch %d in TensorBoard, and training goes on: %s: %s",
                type(self).__name__,
                epoch + 1,
                type(error).__name__,
                error,
            )

    def _write(self, epoch, tag, value):
        if self._writer is None:  # No event file before there is an event.
            self._writer = tf.summary.create_file_writer(self._logs)
        with self._writer.as_default(step=epoch):
            if isinstance(value, str):
                tf.summary.text(tag, value)
            else:
                tf.summary.image(tag, value[None])
        self._writer.flush()  # Also a run that is killed in the next epoch has shown this one.

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def read_picture(file):
    """A PNG file as uint8 [H, W, 3]."""
    return tf.io.decode_png(file.read_bytes(), channels=3).numpy()


class BoardSamples(Board):
    """Samples from the prior, and the same validation examples reconstructed after each epoch.

    Models without a latent code sample only. Reconstructions are decoded from the mean of the
    refined posterior. What epoch e draws is a function of the weights and (seed, e): a resumed run
    shows what the uninterrupted one would. No random state that training uses is touched.

    Args:
      logs: folder of the event files.
      view: what `Task.view` returned: which examples, and how to show them.
      count: how many samples, and how many reconstructions.
      seed: int, the run's.

    Raises:
      ValueError: count is no integer of at least 1.
    """

    def __init__(self, logs, view, count, seed=0):
        super().__init__(logs)
        self._view, self._count = view, validation.positive_int("count", count)
        self._seed = seeds.fold(seed, NoiseStream.SAMPLES)
        self._examples = view.examples(count)

    def entries(self, epoch):
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
    """`Drawn`, unless NaN went into it: ids and pixels drawn from NaN look like any others."""
    if not np.isfinite(drawn.z).all():
        raise NonFiniteError(f"the latent codes of the {what} hold NaN or infinite numbers")
    return drawn


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
        self._x, self._seed = x, seeds.fold(seed, NoiseStream.FIGURES)
        self._followers = FunctionCache()

    def entries(self, epoch):
        rows = self._history()
        yield "history", self._published("history", save_history, rows, unit=self._unit)
        if getattr(self.model, "inference_steps", 0):  # A baseline without a code has none.
            settings = {"family": self.model.family, "unit": self._unit}
            yield "refinement", self._published("refinement", save_path, self._path(), **settings)

    def _published(self, name, save, what, **settings):
        """Draws into a temporary folder and moves the files from there, arrays first."""
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
        # Without XLA: compiling takes longer than so few examples can give back.
        run = self._followers.get(steps, follower(self.model, steps, _NOISES))
        dataset = tf.data.Dataset.from_tensors(self._x)
        path = refinement_path(self.model, dataset, steps, seed=self._seed, run=run)
        if not np.isfinite(path.bound).all():
            raise NonFiniteError("the ELBO became NaN or infinite during refinement")
        return path
