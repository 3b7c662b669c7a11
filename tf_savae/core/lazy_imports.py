"""Imports the public names of a package on first access (PEP 562).

Configurations, help texts and shell completion do not need TensorFlow, whose import takes seconds.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazy"]


def lazy(
    package: str, names: Mapping[str, Sequence[str]], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the `__getattr__` and `__dir__` of a package that imports on demand.

    Access to a name imports only the module that defines it. Type checkers read the same imports
    under `if TYPE_CHECKING:`.

    Args:
      package: the package's name, `__name__`.
      names: {module: the public names that it defines}.
      submodules: names of modules of the package that are public attributes.

    >>> get, names = lazy("tf_savae.core", {"tf_savae.core.tokens": ["PAD"]}, ["noise_streams"])
    >>> get("PAD"), get("noise_streams").__name__
    (0, 'tf_savae.core.noise_streams')
    >>> get("END")
    Traceback (most recent call last):
    AttributeError: module 'tf_savae.core' has no attribute 'END'
    """
    places = {name: module for module, own in names.items() for name in own}

    def __getattr__(name):
        if name in places:
            value = getattr(importlib.import_module(places[name]), name)
            vars(sys.modules[package])[name] = value
            return value
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*vars(sys.modules[package]), *places, *submodules})

    return __getattr__, __dir__
