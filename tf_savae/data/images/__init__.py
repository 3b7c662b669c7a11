"""Image data: reads files, folders and dataset libraries into `ImageSet`s, and makes batches."""

__all__: list[str] = []
