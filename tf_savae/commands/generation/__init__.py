"""Implementation of bin/generate.py."""

__all__ = []
