"""Progress messages of programs, in addition to progress bars."""

__all__: list[str] = []
