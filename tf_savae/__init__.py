"""Semi-amortized variational autoencoders for TensorFlow and Keras.

>>> import tf_savae
>>> layer = tf_savae.SemiAmortizedRefinement(steps=5, step_size=0.1)
"""

import sys
from typing import TYPE_CHECKING

import tf_savae.core.backend  # noqa: F401 First: it refuses other backends than TensorFlow's.
from tf_savae.core.lazy_imports import lazy

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy(
    __name__,
    {
        "tf_savae.models": [
            "AutoregressiveModel",
            "NonFiniteError",
            "SemiAmortizedRefinement",
            "SemiAmortizedVAE",
        ],
        "tf_savae.networks": ["Decoder", "DistributionDecoder"],
        "tf_savae.probability": [
            "CyclicalKLWeight",
            "DiagonalGaussian",
            "Family",
            "FullCovarianceGaussian",
            "linear_kl_weight",
        ],
        "tf_savae.serving": ["export"],
    },
    """analysis autodiff commands core data evaluation generation models networks objectives ops
    plots presets probability samplers serving svi tasks training""".split(),
)

# Keras knows the classes of a file only once they are registered, and asks no package for them: a
# program that imports tf_savae and then calls keras.saving.load_model needs all of it at once.
# Commands say (`sys.tf_savae_lazy = True`, which no child process inherits) that they load what
# they need themselves: their help and refusals come without TensorFlow, whose import takes seconds.
if not getattr(sys, "tf_savae_lazy", False):
    # Before TensorFlow: where it finds that loaded, it loads all its packages, for a second.
    import tensorflow_probability  # noqa: F401

    from tf_savae import models, networks, objectives, presets, probability, serving, svi  # noqa: F401
