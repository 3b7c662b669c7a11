"""Automatic differentiation that passes through loops, in both modes and under XLA."""

from tf_savae.autodiff.time_scan import scan

__all__ = ["scan"]
