"""Arguments of `compile`, the choice of XLA, and functions that are traced again when needed."""

__all__ = []
