"""Name operations without a second derivative, and what works instead."""

import contextlib
import re

__all__ = ["named_operation"]

# TensorFlow's words in reverse mode and in forward mode; other LookupErrors are not about this.
_OPERATION = re.compile(
    r"No gradient defined for operation.*\(op type: (\w+)\)"
    r"|gradient registry has no entry for: (\w+)"
)


@contextlib.contextmanager
def named_operation():
    """Inside, a derivative that an operation lacks is a LookupError that says what to do.

    >>> with named_operation():
    ...     raise LookupError("gradient registry has no entry for: ResizeBicubicGrad")
    Traceback (most recent call last):
    LookupError: hvp: TensorFlow has no derivative of the operation ResizeBicubicGrad, ...
    """
    try:
        yield
    except LookupError as error:
        found = _OPERATION.search(str(error))
        if found is None:
            raise
        raise LookupError(
            f"hvp: TensorFlow has no derivative of the operation {found[1] or found[2]}, and exact "
            "products through refinement need that of each gradient in decoder, prior and family. "
            'Use hvp="finite_difference" (with adjoint="exact" or "truncated"), which needs first '
            "derivatives alone, or another operation."
        ) from error
