"""Runs on images."""

__all__ = []
