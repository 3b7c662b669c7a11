"""Images: files, folders and TFDS, sets of images, and batches."""

__all__ = []
