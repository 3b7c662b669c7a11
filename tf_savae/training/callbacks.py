"""Keras callbacks of a resumable run: history, learning rate, stopping and checkpoints."""

import csv
import io
import json
import math
import statistics
import time
from typing import Any

import keras

from tf_savae.models import NonFiniteError
from tf_savae.training.config import RunConfig
from tf_savae.training.learning_rate import learning_rate_rule
from tf_savae.training.storage.checkpoints import Checkpoints
from tf_savae.training.storage.json_files import write_whole
from tf_savae.training.storage.workdir import Workdir

__all__ = ["RunState"]


class RunState(keras.callbacks.Callback):
    """Updates the history, learning rate, stopping, best weights and checkpoints, in this order.

    This is one callback because the order matters. The checkpoint at the end of an epoch must
    contain the epoch's row of history and the resulting learning rate; otherwise a resumed run
    would train with other learning rates. ReduceLROnPlateau, EarlyStopping and ModelCheckpoint of
    Keras keep their state outside the checkpoint.

    Args:
      config: `TextConfig` or another object with learning_rate, decay_from_epoch,
        min_learning_rate, epochs and checkpoint_every.
      folder: `Workdir`, for history.json and history.csv.
      checkpoints: `Checkpoints`; its state contains the history and the elapsed time.
      steps_per_epoch: number of steps of a whole epoch.
      metric_values: "metrics" in the saved state of an interrupted epoch, or None.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Workdir,
        checkpoints: Checkpoints,
        steps_per_epoch: int,
        metric_values: dict[str, list] | None = None,
    ) -> None:
        super().__init__()
        self._config, self._folder, self._checkpoints = config, folder, checkpoints
        self._steps_per_epoch = steps_per_epoch
        self._metric_values = metric_values
        self._durations: list[float] = []
        self._began = self._epoch_began = 0.0
        self._step = 0

    @property
    def _state(self):
        return self._checkpoints.state

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = int(self.model.optimizer.iterations.numpy())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores the metrics of an interrupted epoch, which Keras has just reset."""
        self._epoch_began, self._durations = time.perf_counter(), []
        if self._metric_values is not None:
            self._checkpoints.restore_metrics(self._metric_values)
            self._metric_values = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._durations.append(time.perf_counter() - self._began)
        self._step += 1
        # The last step of an epoch is saved at the end of the epoch, after validation.
        inside = self._step % self._steps_per_epoch
        if inside and self._step % self._config.checkpoint_every == 0:
            self._account()
            self._checkpoints.save()

    def _account(self):
        """Adds the time since the last call to the total time of the run."""
        now = time.perf_counter()
        self._state["seconds"] = self._state.get("seconds", 0.0) + now - self._epoch_began
        self._epoch_began = now

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._account()
        optimizer = self.model.optimizer
        row: dict[str, Any] = {"epoch": epoch + 1, "step": self._step}
        row["learning_rate"] = float(optimizer.learning_rate.numpy())
        row |= {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(row["val_bound"]):
            raise NonFiniteError(
                f"val_bound: expected a finite number, got {row['val_bound']} after epoch "
                f"{epoch + 1}. Check for NaN in the data, or a learning rate that is too large. "
                "The checkpoint before the end of this epoch was kept."
            )
        row |= {"step_seconds": statistics.median(self._durations)}
        row |= {"seconds": self._state["seconds"]}
        history = self._state.setdefault("history", [])
        history.append(row)
        progress = progress_of(history, self._config)
        optimizer.learning_rate.assign(progress.learning_rate)
        self.model.stop_training = is_finished(history, self._config)
        if progress.best_epoch == epoch + 1:
            self._checkpoints.save_best()
        self._checkpoints.save()
        write_history(self._folder, history)


def progress_of(history, config):
    """Returns the `Progress` of `learning_rate_rule` for the rows of a history."""
    bounds = [row["val_bound"] for row in history]
    return learning_rate_rule(bounds, config.learning_rate, config.decay_from_epoch)


def is_finished(history, config):
    """Returns whether training is over: all epochs are done or the learning rate is too small."""
    rate = progress_of(history, config).learning_rate
    return len(history) >= config.epochs or rate < config.min_learning_rate


def write_history(folder, history):
    """Writes history.json and history.csv atomically."""
    if not folder.writes:
        return
    write_whole(folder / "history.json", json.dumps(history, indent=1) + "\n")
    names = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(history)
    write_whole(folder / "history.csv", text.getvalue())
