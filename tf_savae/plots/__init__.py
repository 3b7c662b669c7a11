"""Pictures, drawn by matplotlib without a display, each with its arrays beside it."""

__all__ = []
