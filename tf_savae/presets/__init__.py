"""Preset models for arrays, images and texts, with defaults chosen from the data."""

from tf_savae.presets.arrays import dense, image
from tf_savae.presets.estimator import VAETransformer
from tf_savae.presets.likelihoods import DiscretizedLogistic
from tf_savae.presets.texts import TextModel, text

__all__ = ["DiscretizedLogistic", "TextModel", "VAETransformer", "dense", "image", "text"]
