"""Checks of data, models and settings before any long work."""

__all__ = []
