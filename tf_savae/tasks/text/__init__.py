"""Runs on text: documents, one a line."""

__all__ = []
