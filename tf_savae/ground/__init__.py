"""Floor 0: seeds, input checks and serialisation, on which all else stands."""

import tf_savae.ground.backend  # noqa: F401 First: it refuses other backends than TensorFlow's.
from tf_savae.ground import checks, seeds
from tf_savae.ground.serialization import export

__all__ = ["checks", "export", "seeds"]
