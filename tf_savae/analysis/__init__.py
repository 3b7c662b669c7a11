"""Analysis of the latent variables: saliency and the refinement path."""

from tf_savae.analysis.averages import Averages, average_by, frequency_groups, position_groups
from tf_savae.analysis.path import RefinementPath, refinement_path
from tf_savae.analysis.saliency import decoder_saliency, encoder_saliency, log_probs_of_parts

__all__ = [
    "Averages",
    "RefinementPath",
    "average_by",
    "decoder_saliency",
    "encoder_saliency",
    "frequency_groups",
    "log_probs_of_parts",
    "position_groups",
    "refinement_path",
]
