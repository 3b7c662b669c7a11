"""What bin/evaluate.py does."""

__all__ = []
