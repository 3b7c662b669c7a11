"""Files of a run: its folder, checkpoints, records, and loading models of any origin."""

__all__ = []
