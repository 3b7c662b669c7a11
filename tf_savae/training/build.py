"""Builds the compiled model of a configuration from an encoder and a decoder."""

from collections.abc import Callable
from typing import Any

import keras

from tf_savae import svi
from tf_savae.core.typing import Nest
from tf_savae.models import AutoregressiveModel, SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.models.refinement.steps_schedule import every
from tf_savae.objectives.objective import LOSS_WEIGHTS
from tf_savae.probability import linear_kl_weight
from tf_savae.svi.short_forms import short_forms_of
from tf_savae.training.config import RunConfig

__all__ = ["assemble"]


def assemble(
    config: RunConfig,
    steps_per_epoch: int,
    make_encoder: Callable[[], Any],
    make_decoder: Callable[[int], Any],
    example: Nest,
) -> keras.Model:
    """Returns the compiled model of a `RunConfig`, with weights and optimizer slots.

    Args:
      config: `RunConfig`, whose system determines the parts of the model.
      steps_per_epoch: number of training steps per epoch, for the KL annealing.
      make_encoder: () -> the encoder.
      make_decoder: latent_size -> the decoder; 0 for the system without latent variables.
      example: x of one example, which determines the shapes of the weights.
    """
    keras.utils.set_random_seed(config.seed)
    if config.objective.latent:
        model = _latent(config, steps_per_epoch, make_encoder, make_decoder)
    else:
        model = AutoregressiveModel(make_decoder(0), seed=config.seed)
    clip = config.clip_norm or None
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    optimizer = kinds[config.optimizer](config.learning_rate, global_clipnorm=clip)
    jit = {"auto": "auto", "true": True, "false": False}[config.jit_compile]
    model.compile(optimizer, jit_compile=jit)
    model.ensure_built(example)
    optimizer.build(model.trainable_variables)
    return model


def _latent(config, steps_per_epoch, make_encoder, make_decoder):
    objective = config.objective
    encoder = make_encoder() if objective.uses_encoder else None
    anneal = round(config.kl_anneal_epochs * steps_per_epoch)
    return SemiAmortizedVAE(
        encoder,
        make_decoder(config.latent_size),
        refinement=_refinement(config, config.steps(steps_per_epoch)),
        objective=objective,
        latent_size=config.latent_size,
        beta=linear_kl_weight(anneal, start=config.kl_start) if anneal else 1.0,
        free_bits=config.free_bits,
        seed=config.seed,
        **{
            name: None if getattr(objective, name) is None else getattr(config, name)
            for name in LOSS_WEIGHTS
        },
    )


def _refinement(config, steps):
    return SemiAmortizedRefinement(
        steps=steps,
        **_rule(config, steps),
        samples=config.svi_samples,
        antithetic=config.svi_antithetic,
        adjoint=config.adjoint,
        **_adjoint_settings(config),
        learn_step_size=config.learn_step_size,
    )


def _adjoint_settings(config):
    """Returns the layer's arguments that belong to the adjoint; a configuration may have others."""
    settings = {
        "adjoint_clip_norm": config.adjoint_clip_norm or None,
        "truncate": config.truncate,
        "hvp": config.hvp,
        "keep": None if config.keep == "none" else config.keep,
        "keep_budget": config.keep_budget or None,
    }
    return {name: settings[name] for name in short_forms_of(config.adjoint)}


def _rule(config, steps):
    """Returns the layer's arguments that set the update rule."""
    size, clip = config.svi_step_size, config.svi_clip_norm or None
    if config.svi_rule == "momentum":
        return {"step_size": size, "momentum": config.svi_momentum, "clip_norm": clip}
    if config.svi_rule == "natural":
        return {"update": svi.NaturalGradient(size, config.svi_momentum, clip)}
    if config.svi_rule == "learned_steps":
        most = max(every(steps))
        return {"update": svi.LearnedSteps(max(most, 1), size, config.svi_momentum, clip)}
    return {"update": svi.LearnedUpdate(step_size=size, seed=config.seed)}
