"""Automatic differentiation that passes through loops, in both modes and under XLA."""

from tf_savae.autodiff.scan import scan

__all__ = ["scan"]
