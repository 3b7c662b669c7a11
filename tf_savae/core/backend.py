"""Raises an error on import if the Keras backend is not TensorFlow."""

import json
import os
import sys
from pathlib import Path

__all__ = ["check_backend"]

_REMEDY = (
    "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported, or "
    '"backend": "tensorflow" in ~/.keras/keras.json.'
)


def check_backend() -> None:
    """Raises ImportError unless TensorFlow is, or will be, the backend of Keras.

    >>> check_backend()
    """
    name = _backend_of_keras()
    if name != "tensorflow":
        raise ImportError(
            f"tf_savae needs Keras' TensorFlow backend, and Keras is set to {name!r}. {_REMEDY}"
        )


def _backend_of_keras():
    """Returns the backend of Keras, without importing Keras: the import takes seconds."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or _configured()


def _configured():
    """Returns the backend set in keras.json; "tensorflow" if the file is missing or invalid."""
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"  # The same rule as in Keras.
    folder = os.environ.get("KERAS_HOME", os.path.join(home, ".keras"))
    try:
        return json.loads(Path(folder, "keras.json").expanduser().read_text("utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


check_backend()
