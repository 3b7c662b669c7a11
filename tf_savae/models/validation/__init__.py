"""Validate data, models and settings before training or evaluation starts."""

__all__ = []
