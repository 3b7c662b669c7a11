"""Encoders, decoders and priors, and the base classes of custom ones."""

from tf_savae.networks.decoder import Decoder, DistributionDecoder
from tf_savae.networks.functional import Effects, PureEncoder, PureGenerator
from tf_savae.networks.layers import LSTM, ParameterHead, TokenSoftmax
from tf_savae.networks.oracle import OracleDecoder, OracleEncoder
from tf_savae.networks.pixelcnn import PixelCNNDecoder
from tf_savae.networks.prior import Prior, StandardNormalPrior
from tf_savae.networks.residual import ResidualEncoder
from tf_savae.networks.text import TextDecoder, TextEncoder, predicted_tokens
from tf_savae.ops.recurrences import lstm, recurrence
from tf_savae.ops.token_softmax import token_nll

__all__ = [
    "LSTM",
    "Decoder",
    "DistributionDecoder",
    "Effects",
    "OracleDecoder",
    "OracleEncoder",
    "ParameterHead",
    "PixelCNNDecoder",
    "Prior",
    "PureEncoder",
    "PureGenerator",
    "ResidualEncoder",
    "StandardNormalPrior",
    "TextDecoder",
    "TextEncoder",
    "TokenSoftmax",
    "lstm",
    "predicted_tokens",
    "recurrence",
    "token_nll",
]
