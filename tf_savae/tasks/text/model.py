"""Builds the model of a `TextConfig`."""

import tensorflow as tf

from tf_savae import data
from tf_savae.networks import TextDecoder, TextEncoder
from tf_savae.training.build import assemble

__all__ = ["build_model"]


def build_model(config, texts):
    """Returns the compiled model of a `TextConfig`, with weights and optimizer slots."""
    sizes = {
        "vocabulary_size": len(texts.vocabulary),
        "embedding_size": config.embedding_size,
        "units": config.units,
    }
    rates = {"dropout": config.dropout, "word_dropout": config.word_dropout}
    return assemble(
        config,
        texts.steps_per_epoch(),
        make_encoder=lambda: TextEncoder(**sizes, latent_size=config.latent_size),
        make_decoder=lambda latent_size: TextDecoder(**sizes, latent_size=latent_size, **rates),
        example=tf.constant([[data.START, data.UNK, data.END]]),
    )
