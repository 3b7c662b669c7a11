"""Preset models for arrays, images and texts, with defaults chosen from the data."""

from tf_savae.presets.arrays import dense, image
from tf_savae.presets.estimator import VAETransformer
from tf_savae.presets.likelihoods import DiscretizedLogistic
from tf_savae.presets.shipped.load import PRESETS, from_preset
from tf_savae.presets.texts import TextModel, text

__all__ = [
    "PRESETS",
    "DiscretizedLogistic",
    "TextModel",
    "VAETransformer",
    "dense",
    "from_preset",
    "image",
    "text",
]
