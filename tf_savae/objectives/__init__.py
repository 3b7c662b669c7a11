"""Training objectives, one per file; each maps a `BatchObjective` to an `Outcome`."""

from tf_savae.objectives.autoregressive import Autoregressive, LikelihoodBatch
from tf_savae.objectives.batch_objective import (
    BatchObjective,
    LossWeights,
    Outcome,
    RefinementInfo,
)
from tf_savae.objectives.lookup import OBJECTIVES, SYSTEMS, as_objective, outcome_of, serialized
from tf_savae.objectives.objective import Objective
from tf_savae.objectives.savae import SAVAE
from tf_savae.objectives.svi import SVI
from tf_savae.objectives.vae import VAE
from tf_savae.objectives.vae_svi import VAESVI
from tf_savae.objectives.vae_svi_exact import VAESVIExact
from tf_savae.objectives.vae_svi_kl import VAESVIKL

__all__ = [
    "OBJECTIVES",
    "SAVAE",
    "SVI",
    "SYSTEMS",
    "VAE",
    "VAESVI",
    "VAESVIExact",
    "VAESVIKL",
    "Autoregressive",
    "BatchObjective",
    "LikelihoodBatch",
    "LossWeights",
    "Objective",
    "Outcome",
    "RefinementInfo",
    "as_objective",
    "outcome_of",
    "serialized",
]
