"""What bin/generate.py does."""

__all__ = []
