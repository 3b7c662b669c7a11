"""Autoregressive decoding: greedy, sampling and beam search; noise per row."""

from tf_savae.samplers.beam import beam_search
from tf_savae.samplers.decoding import decode_tokens, sample_tokens
from tf_savae.samplers.per_row import map_rows, row_seeds, row_uniforms

__all__ = [
    "beam_search",
    "decode_tokens",
    "map_rows",
    "row_seeds",
    "row_uniforms",
    "sample_tokens",
]
