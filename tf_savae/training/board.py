"""What TensorBoard shows of an epoch besides scalars; failing at it never ends a training."""

import keras
import tensorflow as tf
from absl import logging

__all__ = ["Board", "read_picture"]


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
