"""Small trained models that ship with the package, and the program that trains them."""

__all__: list[str] = []
