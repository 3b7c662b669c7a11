"""Implementation of bin/evaluate.py."""

__all__ = []
