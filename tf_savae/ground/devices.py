"""What TensorFlow may compute on besides the CPU."""

import tensorflow as tf

__all__ = ["accelerators", "gpus"]


def gpus():
    """GPUs that this process sees.

    >>> all(device.device_type == "GPU" for device in gpus())
    True
    """
    return tf.config.list_physical_devices("GPU")


def accelerators():
    """GPUs, or else TPUs, that this process sees.

    >>> any(device.device_type == "CPU" for device in accelerators())
    False
    """
    return gpus() or tf.config.list_physical_devices("TPU")
