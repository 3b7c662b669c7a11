"""Semi-amortized variational autoencoders for TensorFlow and Keras.

>>> import tf_savae
>>> layer = tf_savae.SemiAmortizedRefinement(steps=5, step_size=0.1)
"""

# Before TensorFlow: where it finds that loaded, it loads all its packages, for a second.
import tensorflow_probability  # noqa: F401

import tf_savae.core.backend  # noqa: F401 Then this: it refuses other backends than TensorFlow's.
from tf_savae import networks, objectives, probability, svi
from tf_savae.models import (
    AutoregressiveModel,
    NonFiniteError,
    SemiAmortizedRefinement,
    SemiAmortizedVAE,
)
from tf_savae.networks import Decoder, DistributionDecoder
from tf_savae.probability import (
    CyclicalKLWeight,
    DiagonalGaussian,
    Family,
    FullCovarianceGaussian,
    linear_kl_weight,
)
from tf_savae.serving import export

__all__ = [
    "AutoregressiveModel",
    "CyclicalKLWeight",
    "Decoder",
    "DiagonalGaussian",
    "DistributionDecoder",
    "Family",
    "FullCovarianceGaussian",
    "NonFiniteError",
    "SemiAmortizedRefinement",
    "SemiAmortizedVAE",
    "export",
    "linear_kl_weight",
    "networks",
    "objectives",
    "probability",
    "svi",
]
__version__ = "0.1.0"
