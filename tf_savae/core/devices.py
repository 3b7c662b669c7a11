"""List the accelerators that TensorFlow can use."""

import contextlib
import contextvars

import tensorflow as tf

__all__ = ["accelerators", "elsewhere", "gpus"]

_ELSEWHERE = contextvars.ContextVar("elsewhere", default=False)


def gpus():
    """GPUs that this process sees.

    >>> all(device.device_type == "GPU" for device in gpus())
    True
    """
    return tf.config.list_physical_devices("GPU")


def accelerators():
    """GPUs, or else TPUs, that programs traced now can run on; empty where there is a CPU alone.

    >>> with elsewhere():
    ...     bool(accelerators())
    True
    """
    if _ELSEWHERE.get():
        return ["an accelerator on another machine"]
    return gpus() or tf.config.list_physical_devices("TPU")


@contextlib.contextmanager
def elsewhere():
    """Context for tracing programs that will run on an accelerator of another machine."""
    token = _ELSEWHERE.set(True)
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)
