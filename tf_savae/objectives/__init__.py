"""Floor 4: the training rules, one file each; each maps a `BatchObjective` to an `Outcome`."""

from tf_savae.objectives.autoregressive import autoregressive
from tf_savae.objectives.batch_objective import BatchObjective, Outcome, RefinementInfo
from tf_savae.objectives.savae import savae
from tf_savae.objectives.svi import svi
from tf_savae.objectives.vae import vae
from tf_savae.objectives.vae_svi import vae_svi
from tf_savae.objectives.vae_svi_kl import vae_svi_kl

OBJECTIVES = {
    "vae": vae,
    "svi": svi,
    "vae_svi": vae_svi,
    "vae_svi_kl": vae_svi_kl,
    "savae": savae,
}

__all__ = [
    "OBJECTIVES",
    "Outcome",
    "BatchObjective",
    "RefinementInfo",
    "autoregressive",
    "savae",
    "svi",
    "vae",
    "vae_svi",
    "vae_svi_kl",
]
