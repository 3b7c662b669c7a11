"""Validates constructor arguments, also when they are assigned later as attributes."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["ChecksSettings"]


class ChecksSettings:
    """Validates assignments to attributes that hold constructor arguments.

    A constructor argument that is stored as an attribute of the same name can be assigned again if
    it is listed in `_changeable`. The new value is validated in the same way and takes effect at
    the next call. Assignment of any other argument raises ValueError, since weights, sublayers or
    metrics were created from it.

    Attributes:
      _changeable: {name: function that returns the validated value, or raises}.

    >>> class Noise(ChecksSettings):
    ...     _changeable = {"rate": float}
    ...     def __init__(self, size, rate):
    ...         self.size, self.rate = size, rate
    >>> Noise.__module__ = "tf_savae.example"
    >>> noise = Noise(3, 0.5)
    >>> noise.rate = "0.25"
    >>> noise.rate
    0.25
    >>> noise.size = 4
    Traceback (most recent call last):
    ValueError: size: cannot be changed after the Noise is created, got 4. ...
    """

    _changeable: dict[str, Callable[[Any], Any]] = {}

    def __setattr__(self, name, value):
        kind: type = type(self)
        if name in self._changeable:
            value = self._changeable[name](value)
        elif self._is_set(name) and name in _arguments(kind):
            if not _same(self.__dict__[name], value):
                raise ValueError(
                    f"{name}: cannot be changed after the {kind.__name__} is created, got "
                    f"{value!r}. Create a new {kind.__name__}; layers passed to it keep their "
                    "weights."
                )
        super().__setattr__(name, value)

    def _is_set(self, name):
        return self.__dict__.get(name) is not None


def _same(old, new):
    try:
        return old is new or (type(old) is type(new) and bool(old == new))
    except (TypeError, ValueError):  # Arrays are compared elementwise.
        return False


@functools.cache
def _arguments(cls):
    """Returns the argument names of constructors in this package, not of user subclasses."""
    root = __name__.split(".")[0]
    ours = [part for part in cls.__mro__ if part.__module__.split(".")[0] == root]
    made = [vars(part)["__init__"] for part in ours if "__init__" in vars(part)]
    return {name for init in made for name in inspect.signature(init).parameters} - {"self"}
