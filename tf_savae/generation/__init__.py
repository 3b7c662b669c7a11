"""Samples, reconstructions and latent-space paths of a trained model."""

from tf_savae.generation.drawing import Drawn, decode, posterior_means, reconstruct, sample
from tf_savae.generation.paths import interpolate, traverse

__all__ = [
    "Drawn",
    "decode",
    "interpolate",
    "posterior_means",
    "reconstruct",
    "sample",
    "traverse",
]
