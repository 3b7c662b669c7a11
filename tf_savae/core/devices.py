"""Lists the accelerators that TensorFlow can use."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

__all__ = ["accelerators", "elsewhere", "gpus"]

_ELSEWHERE = contextvars.ContextVar("elsewhere", default=False)


def gpus() -> list[tf.config.PhysicalDevice]:
    """Returns the GPUs that are visible to this process.

    >>> all(device.device_type == "GPU" for device in gpus())
    True
    """
    return tf.config.list_physical_devices("GPU")


def accelerators() -> list[Any]:
    """Returns the GPUs, else the TPUs, for which programs are traced; empty if there is only a CPU.

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
