"""Small image networks and images, for the tests of everything about images."""

import itertools

import keras
import numpy as np
from keras_models import with_product

import tf_savae
from tf_savae.networks import PixelCNNDecoder, ResidualEncoder

SHAPE, LATENT = (4, 5), 2


def decoder(shape=SHAPE, latent_size=LATENT, channels=3, kernel_sizes=(5, 3), seed=0, **options):
    keras.utils.set_random_seed(seed)
    return PixelCNNDecoder(shape, latent_size, channels, kernel_sizes, **options)


def model(objective="savae", shape=SHAPE, seed=0, **refinement):
    """A `SemiAmortizedVAE` of a residual encoder and a Gated PixelCNN."""
    keras.utils.set_random_seed(seed)
    settings = with_product(**{"steps": 2, "step_size": 0.1, **refinement})
    return tf_savae.SemiAmortizedVAE(
        ResidualEncoder(LATENT, (3,)),
        decoder(shape, seed=seed),
        latent_size=LATENT,
        objective=objective,
        refinement=tf_savae.SemiAmortizedRefinement(**settings),
    )


def images(rows=6, shape=SHAPE, seed=0):
    """Images of zeros and ones, float [rows, H, W, 1]."""
    bits = np.random.default_rng(seed).integers(2, size=(rows, *shape, 1))
    return bits.astype(keras.config.floatx())


def codes(rows=6, size=LATENT, seed=1, scale=2.0):
    """Latent variables [rows, Z] that matter."""
    numbers = scale * np.random.default_rng(seed).normal(size=(rows, size))
    return numbers.astype(keras.config.floatx())


def all_images(shape):
    """Every binary image of a shape: float [2^(H W), H, W, 1]."""
    bits = list(itertools.product([0, 1], repeat=shape[0] * shape[1]))
    return np.array(bits, keras.config.floatx()).reshape(-1, *shape, 1)
