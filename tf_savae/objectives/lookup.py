"""Names of objectives, their short form: from a name to an object and back."""

import keras

from tf_savae.objectives.autoregressive import Autoregressive
from tf_savae.objectives.objective import Objective
from tf_savae.objectives.savae import SAVAE
from tf_savae.objectives.svi import SVI
from tf_savae.objectives.vae import VAE
from tf_savae.objectives.vae_svi import VAESVI
from tf_savae.objectives.vae_svi_kl import VAESVIKL

__all__ = ["OBJECTIVES", "SYSTEMS", "as_objective", "serialized"]

OBJECTIVES = {made.name: made for made in (VAE(), SVI(), VAESVI(), VAESVIKL(), SAVAE())}
SYSTEMS = {Autoregressive.name: Autoregressive(), **OBJECTIVES}


def as_objective(objective):
    """The `Objective` of a name; an `Objective` is returned as it is.

    Raises:
      ValueError: it is neither, or an objective of models without a latent code.

    >>> as_objective("savae").crosses_refinement
    True
    >>> as_objective("elbo")
    Traceback (most recent call last):
    ValueError: objective: expected one of vae, svi, vae_svi, vae_svi_kl, savae, or a ...
    """
    if isinstance(objective, str) and objective in OBJECTIVES:
        return OBJECTIVES[objective]
    if isinstance(objective, Objective) and objective.latent:
        return objective
    remedy = ""
    if isinstance(objective, type) and issubclass(objective, Objective):
        remedy = f" Make an object of the class: {objective.__name__}(...)."
    elif isinstance(objective, Objective):
        remedy = f" {objective.name!r} has no latent code: use AutoregressiveModel."
    raise ValueError(
        f"objective: expected one of {', '.join(OBJECTIVES)}, or a tf_savae.objectives.Objective; "
        f"got {objective!r}.{remedy}"
    )


def serialized(objective):
    """The name of one of the package's objectives; the Keras configuration of any other one.

    >>> serialized(as_objective("vae"))
    'vae'
    """
    if type(objective) is type(OBJECTIVES.get(objective.name)):
        return objective.name
    return keras.saving.serialize_keras_object(objective)
