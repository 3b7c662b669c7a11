"""Seeds, input validation and serialisation: what every other package builds on."""

import tf_savae.core.backend  # noqa: F401 First: it refuses other backends than TensorFlow's.
from tf_savae.core import seeds, validation
from tf_savae.core.registration import register

__all__ = ["register", "seeds", "validation"]
