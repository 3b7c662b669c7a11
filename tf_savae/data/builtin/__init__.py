"""Text and images that ship with the package, and the programs that made them."""

__all__: list[str] = []
