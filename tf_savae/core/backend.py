"""Refuse Keras backends other than TensorFlow when the package is imported."""

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
    """Raises ImportError unless Keras computes with TensorFlow, or would once it is imported.

    >>> check_backend()
    """
    name = _backend_of_keras()
    if name != "tensorflow":
        raise ImportError(
            f"tf_savae needs Keras' TensorFlow backend, and Keras is set to {name!r}. {_REMEDY}"
        )


def _backend_of_keras():
    """Keras itself is asked only where it is there: it imports the backend, which takes seconds."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return os.environ.get("KERAS_BACKEND") or _configured()


def _configured():
    """What Keras' own file says; where there is none, or none that can be read, TensorFlow."""
    home = os.path.expanduser("~")
    home = home if os.access(home, os.W_OK) else "/tmp"  # As Keras looks for it.
    folder = os.environ.get("KERAS_HOME", os.path.join(home, ".keras"))
    try:
        return json.loads(Path(folder, "keras.json").expanduser().read_text("utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


check_backend()
