"""Floor 3: decoders and encoders, and the base classes to write your own."""

from tf_savae.networks.base import Decoder, DistributionDecoder, Prior, StandardNormalPrior
from tf_savae.networks.layers import LSTM, ParameterHead, TokenSoftmax
from tf_savae.networks.oracle import OracleDecoder, OracleEncoder
from tf_savae.networks.pixelcnn import PixelCNNDecoder
from tf_savae.networks.recurrence import lstm, recurrence
from tf_savae.networks.residual import ResidualEncoder
from tf_savae.networks.softmax import token_nll
from tf_savae.networks.stateless import Effects, PureEncoder, PureGenerator
from tf_savae.networks.text import TextDecoder, TextEncoder, predicted_tokens

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
