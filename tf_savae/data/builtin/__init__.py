"""Text and image datasets that ship with the package, and the code that generates them."""

__all__: list[str] = []
