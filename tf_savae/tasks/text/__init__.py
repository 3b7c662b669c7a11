"""Runs on text: one document per line."""

__all__ = []
