"""Seeds, input validation and serialisation; used by all other packages."""

from typing import TYPE_CHECKING

from tf_savae.core.lazy_imports import lazy

if TYPE_CHECKING:
    from tf_savae.core import seeds, validation
    from tf_savae.core.registration import register

__all__ = ["register", "seeds", "validation"]

__getattr__, __dir__ = lazy(
    __name__, {"tf_savae.core.registration": ["register"]}, ["seeds", "validation"]
)
