"""Text data: reads documents, builds vocabularies and token ids, and makes batches."""

__all__: list[str] = []
