"""From a `TextConfig` to a compiled model."""

import keras
import tensorflow as tf

from tf_savae import data
from tf_savae.models import AutoregressiveModel, SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.networks import TextDecoder, TextEncoder
from tf_savae.probability import linear_kl_weight

__all__ = ["build_model"]


def build_model(config, texts):
    """The compiled model of a `TextConfig`, with weights and optimizer slots."""
    keras.utils.set_random_seed(config.seed)
    model = _autoregressive(config, texts) if _plain(config) else _latent(config, texts)
    clip = config.clip_norm or None
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    optimizer = kinds[config.optimizer](config.learning_rate, global_clipnorm=clip)
    jit = {"auto": "auto", "true": True, "false": False}[config.jit_compile]
    model.compile(optimizer, jit_compile=jit)
    model._ensure_built(tf.constant([[data.START, data.UNK, data.END]]))
    optimizer.build(model.trainable_variables)
    return model


def _plain(config):
    return config.system == "autoregressive"


def _sizes(config, texts):
    return {
        "vocabulary_size": len(texts.vocabulary),
        "embedding_size": config.embedding_size,
        "units": config.units,
    }


def _decoder(config, texts, latent_size):
    rates = {"dropout": config.dropout, "word_dropout": config.word_dropout}
    return TextDecoder(**_sizes(config, texts), latent_size=latent_size, **rates)


def _autoregressive(config, texts):
    return AutoregressiveModel(_decoder(config, texts, 0), seed=config.seed)


def _latent(config, texts):
    encoder = None
    if config.system != "svi":
        encoder = TextEncoder(**_sizes(config, texts), latent_size=config.latent_size)
    return SemiAmortizedVAE(
        encoder,
        _decoder(config, texts, config.latent_size),
        refinement=_refinement(config),
        objective=config.system,
        latent_size=config.latent_size,
        beta=_beta(config, texts),
        free_bits=config.free_bits,
        seed=config.seed,
    )


def _refinement(config):
    return SemiAmortizedRefinement(
        steps=config.svi_steps,
        step_size=config.svi_step_size,
        momentum=config.svi_momentum,
        clip_norm=config.svi_clip_norm or None,
        adjoint=config.adjoint,
        adjoint_clip_norm=config.adjoint_clip_norm or None,
        truncate=config.truncate or None,
        hvp=config.hvp,
        learn_step_size=config.learn_step_size,
    )


def _beta(config, texts):
    steps = round(config.kl_anneal_epochs * texts.steps_per_epoch())
    return linear_kl_weight(steps, start=config.kl_start) if steps else 1.0
