"""What a program shows of its progress, beside progress bars."""

__all__: list[str] = []
