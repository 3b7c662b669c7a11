"""Automatic differentiation through loops, in forward and reverse mode and under XLA."""

from tf_savae.autodiff.time_scan import scan

__all__ = ["scan"]
