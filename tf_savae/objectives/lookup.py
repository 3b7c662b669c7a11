"""Convert between the names of objectives and `Objective` instances."""

from typing import Any

import keras

from tf_savae.core import validation
from tf_savae.core.typing import Config
from tf_savae.objectives.autoregressive import Autoregressive, LikelihoodBatch
from tf_savae.objectives.batch_objective import BatchObjective, Outcome
from tf_savae.objectives.objective import LOSS_WEIGHTS, Objective
from tf_savae.objectives.savae import SAVAE
from tf_savae.objectives.svi import SVI
from tf_savae.objectives.vae import VAE
from tf_savae.objectives.vae_svi import VAESVI
from tf_savae.objectives.vae_svi_exact import VAESVIExact
from tf_savae.objectives.vae_svi_kl import VAESVIKL

__all__ = ["OBJECTIVES", "SYSTEMS", "as_objective", "has_latent", "outcome_of", "serialized"]

_ALL = (VAE(), SVI(), VAESVI(), VAESVIExact(), VAESVIKL(), SAVAE())
OBJECTIVES = {each.name: each for each in _ALL}
SYSTEMS = {Autoregressive.name: Autoregressive(), **OBJECTIVES}


def as_objective(objective: str | Objective) -> Objective:
    """Returns the `Objective` of a name; an `Objective` is returned unchanged.

    Raises:
      ValueError: `objective` is neither a name nor an `Objective`, or an objective for models
        without latent variables, or its attributes contradict each other.

    >>> as_objective("savae").crosses_refinement
    True
    >>> as_objective("elbo")
    Traceback (most recent call last):
    ValueError: objective: expected one of vae, svi, vae_svi, vae_svi_exact, vae_svi_kl, savae, ...
    """
    if isinstance(objective, str) and objective in OBJECTIVES:
        return OBJECTIVES[objective]
    if isinstance(objective, Objective) and objective.latent:
        _check_attributes(objective)
        return objective
    remedy = ""
    if isinstance(objective, type) and issubclass(objective, Objective):
        remedy = f" Pass an instance of the class: {objective.__name__}(...)."
    elif isinstance(objective, Objective):
        remedy = f" {objective.name!r} has no latent variables: use AutoregressiveModel."
    raise ValueError(
        f"objective: expected one of {', '.join(OBJECTIVES)}, or a tf_savae.objectives.Objective; "
        f"got {objective!r}.{remedy}"
    )


def _check_attributes(objective):
    if not objective.refines and (objective.crosses_refinement or objective.needs_steps):
        raise ValueError(
            "objective: expected refines=True with crosses_refinement or needs_steps, got "
            f"refines=False for {objective.name!r}. Set refines=True or leave these attributes out."
        )
    for weight in LOSS_WEIGHTS:
        if getattr(objective, weight) is not None:
            name = f"objective: {weight} of {objective.name!r}"
            validation.positive(name, getattr(objective, weight), zero=True)


def has_latent(model: Any) -> bool:
    """Returns whether a model has latent variables, according to its objective.

    >>> has_latent(keras.Sequential())
    False
    """
    objective = getattr(model, "objective", None)
    return isinstance(objective, Objective) and objective.latent


def outcome_of(objective: Objective, batch: BatchObjective | LikelihoodBatch) -> Outcome:
    """Returns the `Outcome` of a batch, `objective.loss(batch)`, after checking its type and shape.

    Raises:
      TypeError: `objective.loss` does not return an `Outcome`.
      ValueError: the loss is not one number per example.
    """
    outcome = objective.loss(batch)
    if not isinstance(outcome, Outcome):
        raise TypeError(
            f"objective: expected loss(batch) of {objective.name!r} to return an Outcome, got "
            f"{type(outcome).__name__}. Return batch.outcome_at(parameters)._replace(loss=...)."
        )
    if outcome.loss.shape.rank not in (1, None):
        raise ValueError(
            f"objective: expected the loss of {objective.name!r} to be one number per example, "
            f"shape [B]; got shape {outcome.loss.shape.as_list()}. Do not average over examples."
        )
    return outcome


def serialized(objective: Objective) -> str | Config:
    """Returns the name of a built-in objective, or the Keras configuration of another one.

    >>> serialized(as_objective("vae"))
    'vae'
    """
    if type(objective) is type(OBJECTIVES.get(objective.name)):
        return objective.name
    return keras.saving.serialize_keras_object(objective)
