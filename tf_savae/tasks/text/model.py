"""Builds the model of a `TextConfig`."""

from typing import Any

import keras
import tensorflow as tf

from tf_savae import data
from tf_savae.networks import TextDecoder, TextEncoder
from tf_savae.tasks.text.config import TextConfig
from tf_savae.tasks.text.data import Texts
from tf_savae.training.build import assemble

__all__ = ["build_model"]


def build_model(config: TextConfig, texts: Texts) -> keras.Model:
    """Returns the compiled model of a `TextConfig`, with weights and optimizer slots."""
    sizes: dict[str, Any] = {
        "vocabulary_size": len(texts.vocabulary),
        "embedding_size": config.embedding_size,
        "units": config.units,
    }
    rates: dict[str, Any] = {"dropout": config.dropout, "word_dropout": config.word_dropout}
    return assemble(
        config,
        texts.steps_per_epoch(),
        make_encoder=lambda: TextEncoder(**sizes, latent_size=config.latent_size),
        make_decoder=lambda latent_size: TextDecoder(**sizes, latent_size=latent_size, **rates),
        example=tf.constant([[data.START, data.UNK, data.END]]),
    )
