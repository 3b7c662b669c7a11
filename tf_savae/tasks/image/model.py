"""Builds the model of an `ImageConfig`."""

import keras
import tensorflow as tf

from tf_savae.networks import PixelCNNDecoder, ResidualEncoder
from tf_savae.tasks.image.config import ImageConfig
from tf_savae.tasks.image.data import Images
from tf_savae.training.build import assemble

__all__ = ["build_image_model"]


def build_image_model(config: ImageConfig, images: Images) -> keras.Model:
    """Returns the compiled model of an `ImageConfig`, with weights and optimizer slots."""
    shape = images.train.shape
    return assemble(
        config,
        images.steps_per_epoch(),
        make_encoder=lambda: ResidualEncoder(config.latent_size, config.encoder_channels),
        make_decoder=lambda latent_size: PixelCNNDecoder(
            shape, latent_size, config.channels, config.kernels, config.latent_maps
        ),
        example=tf.zeros([1, *shape, 1]),
    )
