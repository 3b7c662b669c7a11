"""The oracle experiment (Kim et al. 2018, section 4.1)."""

__all__ = []
