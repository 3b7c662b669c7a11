"""Explain TensorFlow errors that are caused by a setting of the model."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from tf_savae.autodiff.unsupported import named_operation

__all__ = ["explained"]

_NO_KERNEL = re.compile(r"Detected unsupported operations.*?on XLA_\w+: (\w+)", re.DOTALL)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Context that explains errors of missing derivatives or XLA kernels, with a remedy.

    >>> with explained():
    ...     raise LookupError("gradient registry has no entry for: RandomGammaGrad")
    Traceback (most recent call last):
    LookupError: hvp: TensorFlow has no derivative of the operation RandomGammaGrad, ...
    """
    try:
        with named_operation():
            yield
    except tf.errors.InvalidArgumentError as error:
        found = _NO_KERNEL.search(str(error))
        if found is None:
            raise
        raise ValueError(
            f"jit_compile: XLA cannot compile the operation {found[1]} here; compile the model "
            "with jit_compile=False."
        ) from error
