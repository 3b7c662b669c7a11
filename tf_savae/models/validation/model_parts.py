"""Validate that the parts and settings of a `SemiAmortizedVAE` are compatible."""

from typing import Any

import keras

from tf_savae.core import validation
from tf_savae.models.compilation.jit import check_second_derivatives
from tf_savae.models.refinement import programs, steps_schedule
from tf_savae.models.refinement.layer import SemiAmortizedRefinement
from tf_savae.networks.decoder import Decoder
from tf_savae.networks.prior import Prior
from tf_savae.objectives import BatchObjective, Objective
from tf_savae.objectives.objective import LOSS_WEIGHTS
from tf_savae.probability import Family
from tf_savae.probability.codes import check_antithetic
from tf_savae.probability.distribution_checks import check_legacy

__all__ = [
    "check_decoder",
    "check_encoder",
    "check_generator",
    "check_loss_weights",
    "check_parts",
    "check_refinement",
    "check_samples",
    "check_settings",
    "check_weights",
    "check_weights_read",
]


def check_settings(model: Any) -> None:
    """Raises ValueError if settings that were assigned to a model are incompatible."""
    model.refinement.check_settings()
    check_samples(model.refinement, model.family)
    check_refinement(model.refinement, model.objective)
    check_loss_weights(model)
    if model.compiled:
        steps_schedule.check_executions(model.refinement.steps, model.steps_per_execution)
    check_encoder(model.encoder, model.objective)
    if model.compiled:
        check_decoder(model)


def check_samples(refinement: SemiAmortizedRefinement, family: Family) -> None:
    """Raises ValueError if antithetic samples are requested and the family has none.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_samples(SemiAmortizedRefinement(samples=2, antithetic=True), DiagonalGaussian())
    """
    if refinement.antithetic:
        check_antithetic(family, refinement.samples)


def check_decoder(model: Any) -> None:
    """Raises ValueError if training needs second derivatives that the decoder does not have."""
    if programs.differentiates_twice(model.objective, model.refinement):
        check_second_derivatives(model.decoder)


def check_loss_weights(model: Any) -> None:
    """Raises ValueError if a weight of a model belongs to a term that its objective does not have.

    >>> from types import SimpleNamespace
    >>> from tf_savae.objectives import as_objective
    >>> settings = {"amortized_weight": 0.3, "path_weight": None}
    >>> check_loss_weights(SimpleNamespace(objective=as_objective("savae"), **settings))
    """
    objective = model.objective
    for name, term in LOSS_WEIGHTS.items():
        if getattr(model, name) and getattr(objective, name) is None:
            raise ValueError(
                f"{name}: requires {term.requires}; got {getattr(model, name)} with "
                f"objective={objective.name!r}. Leave it out."
            )


def check_weights_read(model: Any, batch: BatchObjective) -> None:
    """Raises ValueError if `loss` of the objective has not read a weight that the model was given.

    Without refinement steps there may be nothing to weigh, so nothing is checked then.
    """
    for name, term in LOSS_WEIGHTS.items():
        if batch.steps and getattr(model, name) and name not in batch.loss_weights.read:
            raise ValueError(
                f"{name}: got {getattr(model, name)}, but `loss` of objective "
                f"{model.objective.name!r} does not use it. Add {term.how}, or set {name} = None "
                "in the class."
            )


def check_encoder(encoder: keras.layers.Layer | None, objective: Objective) -> None:
    """Raises ValueError if an encoder is missing, or given and not used by the objective.

    >>> from tf_savae.objectives import as_objective
    >>> check_encoder(None, as_objective("svi"))
    """
    if objective.uses_encoder == (encoder is None):
        raise ValueError(
            f"objective: {objective.name!r} trains {'an' if objective.uses_encoder else 'no'} "
            f"encoder, and the model has {'none' if encoder is None else 'one'}. Create a new "
            "SemiAmortizedVAE; layers passed to it keep their weights."
        )


def check_parts(
    encoder: keras.layers.Layer | None,
    decoder: Decoder,
    objective: Objective,
    latent_size: int | None,
) -> int | None:
    """Returns the latent size as an int or None; raises ValueError for invalid parts.

    >>> from tf_savae.objectives import as_objective
    >>> check_parts(None, "decoder", as_objective("svi"), 2)
    Traceback (most recent call last):
    ValueError: decoder: expected a tf_savae.networks.Decoder (wrap a plain Keras network in ...
    """
    check_legacy("decoder", decoder)
    check_legacy("encoder", encoder)
    if not hasattr(decoder, "log_prob_prepared"):
        raise ValueError(
            "decoder: expected a tf_savae.networks.Decoder (wrap a plain Keras network in "
            f"DistributionDecoder), got {type(decoder).__name__}."
        )
    if not objective.uses_encoder:
        name = f'latent_size (needed for objective="{objective.name}")'
        validation.positive_int(name, latent_size)
    elif not isinstance(encoder, keras.layers.Layer):
        raise ValueError(f"encoder: expected a Keras layer or model, got {encoder!r}.")
    return None if latent_size is None else validation.positive_int("latent_size", latent_size)


def check_generator(
    refinement: SemiAmortizedRefinement, decoder: Decoder | None, prior: Prior | None
) -> None:
    """Raises ValueError if the refinement layer has another decoder or prior than the model.

    >>> check_generator(SemiAmortizedRefinement(steps=3), None, None)
    """
    for name, ours in (("decoder", decoder), ("prior", prior)):
        other = getattr(refinement, name)
        if other is not None and other is not ours:
            raise ValueError(
                f"refinement: expected one without {name}=, or with the model's own; got another "
                f"{type(other).__name__}, which would not be used. Leave it out."
            )


def _learns(rule):
    """Returns whether a rule is a layer that has weights or may create them when built."""
    return isinstance(rule, keras.layers.Layer) and (bool(rule.weights) or not rule.built)


def check_refinement(refinement: SemiAmortizedRefinement, objective: Objective) -> None:
    """Raises ValueError for an invalid refinement layer, or one the objective cannot use.

    >>> from tf_savae.objectives import as_objective
    >>> check_refinement(SemiAmortizedRefinement(steps=3), as_objective("savae"))
    """
    if not isinstance(refinement, SemiAmortizedRefinement):
        raise ValueError(
            "refinement: expected a tf_savae.SemiAmortizedRefinement, got "
            f"{type(refinement).__name__}."
        )
    steps = steps_schedule.every(refinement.steps)
    crosses = refinement.current_adjoint().crosses
    if objective.crosses_refinement and any(steps) and not crosses:
        raise ValueError(
            'refinement: adjoint="stop" lets no gradient reach the encoder; '
            f'objective="{objective.name}" expects "exact", "unrolled" or "truncated". For a '
            'constant lambda_K use objective="vae_svi".'
        )
    if objective.needs_steps and not all(steps):
        raise ValueError(
            f'refinement: expected steps >= 1 with objective="{objective.name}", whose encoder is '
            'trained on refined parameters; got 0. For no refinement use objective="vae".'
        )
    lost = objective.refines and not objective.crosses_refinement
    if lost and _learns(refinement.update):
        raise ValueError(
            f"refinement: its update rule {type(refinement.update).__name__} has weights, which "
            f"receive no gradient with objective={objective.name!r}, where lambda_K is a constant; "
            'expected a rule without weights, such as svi.Momentum, or objective="savae".'
        )
    if refinement.learn_step_size and not (objective.crosses_refinement and any(steps)):
        raise ValueError(
            'refinement: learn_step_size=True needs objective="savae" and steps >= 1, whose '
            f"gradient reaches the step size; got objective={objective.name!r}, "
            f"steps={refinement.steps}."
        )


def check_weights(model: Any) -> None:
    """Raises ValueError if a weight of the model is not finite."""
    for variable in model.variables:
        remedy = "Load an earlier checkpoint."
        validation.finite(f"weights {variable.path}", variable.numpy(), remedy)
