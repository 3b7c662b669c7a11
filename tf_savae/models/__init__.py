"""Keras models: `SemiAmortizedVAE`, `AutoregressiveModel` and the refinement layer."""

from tf_savae.models.autoregressive import AutoregressiveModel
from tf_savae.models.callbacks import NonFiniteError
from tf_savae.models.refinement.layer import SemiAmortizedRefinement
from tf_savae.models.vae import SemiAmortizedVAE

__all__ = [
    "AutoregressiveModel",
    "NonFiniteError",
    "SemiAmortizedRefinement",
    "SemiAmortizedVAE",
]
