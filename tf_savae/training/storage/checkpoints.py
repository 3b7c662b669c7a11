"""Checkpoints of the full training state."""

import json

import tensorflow as tf

from tf_savae.models import NonFiniteError
from tf_savae.models.callbacks import TooManySkippedError
from tf_savae.svi.hvp import METHODS
from tf_savae.training.config import KEEPS
from tf_savae.training.storage.snapshots import Snapshots

__all__ = ["Checkpoints"]

_COLUMNS = ("step", "val_bound", "step_seconds", "seconds")  # What history decides and reports.
_LARGEST = 3e38  # Float32 ends there.


class Checkpoints:
    """Weights, optimizer and a JSON state with the running metrics, saved together or not at all.

    Each is written under a new name, its checksums last: a process killed between, or a full disk,
    leaves the previous checkpoint in force. A damaged one is skipped with a warning, and the one
    before it is used. The best weights are stored separately, without optimizer and fallback.

    Args:
      folder: `Workdir`.
      model: a compiled and built model whose optimizer is built too.
    """

    def __init__(self, folder, model):
        self.state = {}
        self._model, self._writes = model, folder.writes
        self._text = tf.Variable("{}", dtype=tf.string, trainable=False)
        weights = [v.value for v in model.variables]
        every = [*weights, *(v.value for v in model.optimizer.variables)]
        self._latest = _series(folder / "checkpoints", self._text, every, keep=3)
        self._best = _series(folder / "best", self._text, weights, keep=1)

    def restore_metrics(self, values):
        """Gives the metrics of an interrupted epoch the sums in `values`, as saved in the state.

        A metric that the saving version did not have starts from nothing.
        """
        for metric in self._model.metrics:
            numbers = values.get(metric.name, [])
            for variable, number in zip(metric.variables, numbers, strict=False):
                variable.assign(number)

    def _metrics(self):
        """The sums behind the running metrics; float32 passes through JSON unchanged."""
        return {m.name: [v.numpy().tolist() for v in m.variables] for m in self._model.metrics}

    def save(self):
        """Saves everything as of now; returns the checkpoint's path.

        Raises:
          NonFiniteError: a weight is NaN or infinite; the checkpoint before stays the latest.
          OSError: it cannot be written; the checkpoint before stays the latest.
        """
        self._check_weights()
        self.state["metrics"] = self._metrics()
        return self._write(self._latest)

    def _check_weights(self):
        """A step with a finite loss may still have spoilt the weights."""
        for variable in self._model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                raise NonFiniteError(
                    f"weight {variable.path} holds NaN or infinite numbers; it was not saved, and "
                    "the checkpoint before it stays. Look for a learning rate or svi_step_size "
                    "that is too large."
                )

    def save_last_good(self, error, steps_per_epoch):
        """Saves the weights that too many batches in vain have left alone.

        Args:
          error: the `NonFiniteError` that ended training.
          steps_per_epoch: an epoch that has no step left is not saved without its validation.

        Returns:
          A `NonFiniteError` that also says where the last good state is.
        """
        again = (
            "Nothing was saved after the latest checkpoint, from which the same command meets the "
            "same batches again."
        )
        skipped = isinstance(error, TooManySkippedError)
        if not skipped or not int(self._model.optimizer.iterations.numpy()) % steps_per_epoch:
            return NonFiniteError(f"{error} {again}")
        try:
            where = f"They were saved as {self.save()}."
        except (NonFiniteError, OSError) as problem:
            return NonFiniteError(f"{error} They were not saved: {problem} {again}")
        return NonFiniteError(
            f"{error} {where} The same command goes on after these batches; --skip_limit says how "
            "many of an epoch may be skipped."
        )

    def save_best(self):
        """Keeps the weights as of now as the best ones."""
        self._write(self._best)

    def _write(self, series):
        if not self._writes:  # Another process of the group does.
            return series.folder
        self._text.assign(json.dumps(self.state))
        return series.write()

    def restore(self):
        """Goes back to the latest whole checkpoint and its state; False where there is none.

        Raises:
          ValueError: there are some and none is whole, or they are of another model.
        """
        return self._read(self._latest)

    def restore_best(self):
        """Takes the best weights; the state stays."""
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
    """The state of a run, or a ValueError: it may come from anywhere."""
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
            "something else. Delete the workdir to train anew."
        )
    return state


def _is_number(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < _LARGEST  # Not so for NaN either.


def _series(folder, text, values, keep):
    return Snapshots(folder, tf.train.Checkpoint(state=text, values=values), keep)
