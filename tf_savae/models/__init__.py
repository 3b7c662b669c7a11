"""Floor 5: thin Keras models around the functional core."""

from tf_savae.models.autoregressive import AutoregressiveModel
from tf_savae.models.guards import NonFiniteError
from tf_savae.models.refinement import SemiAmortizedRefinement
from tf_savae.models.vae import SemiAmortizedVAE

__all__ = [
    "AutoregressiveModel",
    "NonFiniteError",
    "SemiAmortizedRefinement",
    "SemiAmortizedVAE",
]
