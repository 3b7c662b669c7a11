"""Refuse Keras backends other than TensorFlow when the package is imported."""

import os
import sys

_REMEDY = (
    "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported, or "
    '"backend": "tensorflow" in ~/.keras/keras.json.'
)


def check_backend():
    """Raises ImportError unless Keras computes with TensorFlow.

    >>> check_backend()
    """
    # Checked first: importing Keras fails where the named backend is not installed.
    name = None if "keras" in sys.modules else os.environ.get("KERAS_BACKEND")
    if name in (None, "", "tensorflow"):
        import keras  # Imported here: the line above decides which backend it loads.

        name = keras.backend.backend()
    if name != "tensorflow":
        raise ImportError(
            f"tf_savae needs Keras' TensorFlow backend, and Keras is set to {name!r}. {_REMEDY}"
        )


check_backend()
