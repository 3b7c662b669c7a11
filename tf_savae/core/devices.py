"""List the accelerators that TensorFlow can use."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

__all__ = ["accelerators", "elsewhere", "gpus"]

_ELSEWHERE = contextvars.ContextVar("elsewhere", default=False)


def gpus() -> list[tf.config.PhysicalDevice]:
    """GPUs that this process sees.

    >>> all(device.device_type == "GPU" for device in gpus())
    True
    """
    return tf.config.list_physical_devices("GPU")


def accelerators() -> list[Any]:
    """GPUs, or else TPUs, that programs traced now can run on; empty where there is a CPU alone.

    >>> with elsewhere():
    ...     bool(accelerators())
    True
    """
    if _ELSEWHERE.get():
        return ["an accelerator on another machine"]
    return gpus() or tf.config.list_physical_devices("TPU")


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Context for tracing programs that will run on an accelerator of another machine."""
    token = _ELSEWHERE.set(True)
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)
