"""Fused operations with exact first and second derivatives, for the costly loops of networks."""

from tf_savae.ops.recurrences import lstm, recurrence
from tf_savae.ops.token_softmax import token_nll

__all__ = ["lstm", "recurrence", "token_nll"]
