"""Reports operations without a second derivative, and a remedy."""

import contextlib
import re
from collections.abc import Iterator

__all__ = ["named_operation"]

# TensorFlow's messages in reverse and forward mode; other LookupErrors are unrelated.
_OPERATION = re.compile(
    r"No gradient defined for operation.*\(op type: (\w+)\)"
    r"|gradient registry has no entry for: (\w+)"
)


@contextlib.contextmanager
def named_operation() -> Iterator[None]:
    """Context that adds a remedy to the LookupError for a missing derivative.

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
            "Hessian-vector products need second derivatives of decoder, prior and family. Use "
            'hvp="finite_difference" (with adjoint="exact" or "truncated"), which needs only first '
            "derivatives, or another operation."
        ) from error
