"""Checkpoints of everything that decides how a run goes on."""

import json

import tensorflow as tf
from absl import logging

from tf_savae.models import NonFiniteError

__all__ = ["Checkpoints"]


class Checkpoints:
    """Weights, optimizer and a JSON state with the running metrics, saved together or not at all.

    `tf.train.CheckpointManager` writes the data under a new name first and then, in one rename,
    the file that points to it: a process killed between leaves the previous checkpoint in force.
    The best weights are kept apart, without optimizer.

    Args:
      folder: `Workdir`.
      model: a compiled and built model whose optimizer is built too.
    """

    def __init__(self, folder, model):
        self.state = {}
        self._model = model
        self._text = tf.Variable("{}", dtype=tf.string, trainable=False)
        weights = [v.value for v in model.variables]
        every = [*weights, *(v.value for v in model.optimizer.variables)]
        self._latest = _manager(folder / "checkpoints", self._text, every, keep=2)
        self._best = _manager(folder / "best", self._text, weights, keep=1)

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
        """Saves everything as of now.

        Raises:
          NonFiniteError: a weight is NaN or infinite; the checkpoint before stays the latest.
        """
        self._check_weights()
        self.state["metrics"] = self._metrics()
        self._write(self._latest)

    def _check_weights(self):
        """A step with a finite loss may still have spoilt the weights."""
        for variable in self._model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                raise NonFiniteError(
                    f"weight {variable.path} holds NaN or infinite numbers; it was not saved, and "
                    "the checkpoint before it stays. Look for a learning rate or svi_step_size "
                    "that is too large."
                )

    def save_best(self):
        """Keeps the weights as of now as the best ones."""
        self._write(self._best)

    def _write(self, manager):
        self._text.assign(json.dumps(self.state))
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs two lines a checkpoint.
        try:
            manager.save()
        finally:
            logging.set_verbosity(verbosity)

    def restore(self):
        """Goes back to the latest checkpoint and its state; False where there is none."""
        return self._read(self._latest)

    def restore_best(self):
        """Takes the best weights; the state stays."""
        state = self.state
        found = self._read(self._best)
        self.state = state
        return found

    def _read(self, manager):
        path = manager.latest_checkpoint
        if path is None:
            return False
        try:
            manager.checkpoint.restore(path).assert_consumed()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise ValueError(
                f"checkpoint {path}: expected one that fits this model, got: {error}. It is "
                "damaged or of another version; delete the workdir to train anew."
            ) from error
        self.state = json.loads(self._text.numpy())
        return True


def _manager(folder, text, values, keep):
    checkpoint = tf.train.Checkpoint(state=text, values=values)
    return tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=keep)
