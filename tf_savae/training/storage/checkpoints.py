"""`Checkpoints`: saves and restores the full training state."""

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tf_savae.models import NonFiniteError
from tf_savae.models.callbacks import TooManySkippedError
from tf_savae.svi.hvp import METHODS
from tf_savae.training.config import KEEPS
from tf_savae.training.storage.snapshots import Snapshots
from tf_savae.training.storage.workdir import Workdir

__all__ = ["Checkpoints"]

_COLUMNS = ("step", "val_bound", "step_seconds", "seconds")  # Required columns of the history.
_LARGEST = 3e38  # About the largest float32.


class Checkpoints:
    """Saves weights, optimizer and a JSON state, which includes the running metrics, atomically.

    Each checkpoint is written under a new name, and its checksums are written last. If the process
    is killed before, or the disk is full, the previous checkpoint remains valid. A damaged
    checkpoint is skipped with a warning, and the previous one is used. The best weights are stored
    separately, without the optimizer and without a fallback.

    Args:
      folder: `Workdir`.
      model: a compiled and built model with a built optimizer.
    """

    def __init__(self, folder: Workdir, model: keras.Model) -> None:
        self.state: dict[str, Any] = {}
        self._model, self._writes = model, folder.writes
        self._text = tf.Variable("{}", dtype=tf.string, trainable=False)
        weights = [v.value for v in model.variables]
        every = [*weights, *(v.value for v in model.optimizer.variables)]
        self._latest = _series(folder / "checkpoints", self._text, every, keep=3)
        self._best = _series(folder / "best", self._text, weights, keep=1)

    def restore_metrics(self, values: dict[str, list]) -> None:
        """Restores the metrics of an interrupted epoch from `values`, as saved in the state.

        A metric that the saved state does not contain starts from zero.
        """
        for metric in self._model.metrics:
            numbers = values.get(metric.name, [])
            for variable, number in zip(metric.variables, numbers, strict=False):
                variable.assign(number)

    def _metrics(self):
        """Returns the variables of the running metrics; JSON preserves float32 exactly."""
        return {m.name: [v.numpy().tolist() for v in m.variables] for m in self._model.metrics}

    def save(self) -> Path:
        """Saves the current training state and returns the path of the checkpoint.

        Raises:
          NonFiniteError: a weight is NaN or infinite; the previous checkpoint remains the latest.
          OSError: writing failed; the previous checkpoint remains the latest.
        """
        self._check_weights()
        self.state["metrics"] = self._metrics()
        return self._write(self._latest)

    def _check_weights(self):
        """Raises NonFiniteError for NaN or infinite weights, also possible after a finite loss."""
        for variable in self._model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                raise NonFiniteError(
                    f"weight {variable.path} contains NaN or infinite values; it was not saved, "
                    "and the previous checkpoint was kept. Check for a learning rate or "
                    "svi_step_size that is too large."
                )

    def save_last_good(self, error: NonFiniteError, steps_per_epoch: int) -> NonFiniteError:
        """Saves the last good weights when too many batches were skipped.

        Skipped batches do not change the weights.

        Args:
          error: the `NonFiniteError` that ended training.
          steps_per_epoch: number of steps per epoch. After the last step of an epoch nothing is
            saved, because the validation is missing.

        Returns:
          A `NonFiniteError` whose message also contains the path of the last good state.
        """
        again = (
            "Nothing was saved after the latest checkpoint, from which the same command resumes "
            "with the same batches."
        )
        skipped = isinstance(error, TooManySkippedError)
        if not skipped or not int(self._model.optimizer.iterations.numpy()) % steps_per_epoch:
            return NonFiniteError(f"{error} {again}")
        try:
            where = f"They were saved as {self.save()}."
        except (NonFiniteError, OSError) as problem:
            return NonFiniteError(f"{error} They were not saved: {problem} {again}")
        return NonFiniteError(
            f"{error} {where} The same command resumes after these batches; --skip_limit sets how "
            "many may be skipped per epoch."
        )

    def save_best(self) -> None:
        """Saves the current weights as the best ones."""
        self._write(self._best)

    def _write(self, series):
        if not self._writes:  # The chief writes.
            return series.folder
        self._text.assign(json.dumps(self.state))
        return series.write()

    def restore(self) -> bool:
        """Restores the latest valid checkpoint and its state; returns False if there is none.

        Raises:
          ValueError: all checkpoints are damaged, or they belong to another model.
        """
        return self._read(self._latest)

    def restore_best(self) -> bool:
        """Restores the best weights without changing the state."""
        state = self.state
        found = self._read(self._best)
        self.state = state
        return found

    def _read(self, series):
        if not series.read():
            return False
        self.state = _checked(json.loads(self._text.numpy()), series.folder)
        return True


def _checked(state, folder):
    """Returns the state after validating it, since files may be untrusted."""
    rows = state.get("history", []) if isinstance(state, dict) else None
    metrics = state.get("metrics", {}) if isinstance(state, dict) else None
    whole = (
        isinstance(rows, list)
        and all(isinstance(row, dict) for row in rows)
        and all(_is_number(row.get(name)) for row in rows for name in _COLUMNS)
        and isinstance(metrics, dict)
        and all(isinstance(values, list) for values in metrics.values())
        and all(_is_number(number) for values in metrics.values() for number in values)
        and _is_number(state.get("seconds", None if rows else 0.0))
        and state.get("hvp") in (None, *METHODS)
        and state.get("keep") in (None, *KEEPS)
    )
    if not whole:
        raise ValueError(
            f"{folder}: expected the state of a run in its checkpoint (history, metrics), got "
            "something else. Delete the workdir to train from scratch."
        )
    return state


def _is_number(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < _LARGEST  # False for NaN, too.


def _series(folder, text, values, keep):
    return Snapshots(folder, tf.train.Checkpoint(state=text, values=values), keep)
