"""Give Keras arrays as batches that do not wait for tf.data's tuner."""

from typing import Any

import keras

from tf_savae.core import private_keras
from tf_savae.core.typing import Config, Nest

__all__ = ["batches_of", "with_array_batches"]


def batches_of(
    data: tuple, size: int | None = None, steps: int | None = None, shuffle: bool | str = False
) -> Any:
    """`private_keras.ArrayBatches` of (x, y, sample_weight); None for what is no arrays.

    Args:
      data, size, steps, shuffle: as `fit` takes them, of x, y and sample_weight, batch_size,
        steps_per_epoch and shuffle.

    >>> import numpy as np
    >>> batches_of((np.ones([5, 2]), None, None), 2).num_batches
    3
    """
    # In a debugging run Keras bounds the steps of an epoch, and with them the size of batches.
    if keras.config.max_steps_per_epoch() or not private_keras.are_arrays(data):
        return None
    return private_keras.ArrayBatches(*data, batch_size=size, steps=steps, shuffle=shuffle)


def with_array_batches(x: Nest, y: Any, kwargs: Config) -> tuple[Any, Any, Config]:
    """(x, y, kwargs) of `keras.Model.fit` with what is arrays as batches, validation data too.

    >>> import numpy as np
    >>> x, y, kwargs = with_array_batches(np.ones([8, 2]), None, {"validation_split": 0.25})
    >>> x.num_batches, kwargs["validation_data"].batch_size
    (1, 32)
    """
    kwargs, data = dict(kwargs), (x, y, kwargs.get("sample_weight"))
    split = kwargs.get("validation_split") and kwargs.get("validation_data") is None
    if split and private_keras.are_arrays(data):
        data, held_out = private_keras.split_arrays(data, kwargs.pop("validation_split"))
        x, y, kwargs["sample_weight"] = data
        kwargs["validation_data"] = held_out
    size = kwargs.get("batch_size")
    if kwargs.get("validation_data") is not None:
        held_out = keras.utils.unpack_x_y_sample_weight(kwargs["validation_data"])
        own = kwargs.get("validation_batch_size") or size, kwargs.get("validation_steps")
        batches = batches_of(held_out, *own)
        kwargs["validation_data"] = batches or kwargs["validation_data"]
    batches = batches_of(data, size, kwargs.get("steps_per_epoch"), kwargs.get("shuffle", True))
    if batches is None:
        return x, y, kwargs
    return batches, None, {**kwargs, "sample_weight": None}
