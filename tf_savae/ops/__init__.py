"""Fused operations with exact first and second derivatives: the hot loops of the networks."""

from tf_savae.ops.recurrence import lstm, recurrence
from tf_savae.ops.token_nll import token_nll

__all__ = ["lstm", "recurrence", "token_nll"]
