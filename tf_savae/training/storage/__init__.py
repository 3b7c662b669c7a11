"""Files of a run: its folder, checkpoints and JSON records, and loading of untrusted models."""

__all__ = []
