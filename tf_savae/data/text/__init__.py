"""Text: lines of files, vocabularies, corpora of token ids, and batches of static shape."""

__all__ = []
