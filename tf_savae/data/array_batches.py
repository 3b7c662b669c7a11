"""Passes arrays to Keras as batches without tf.data, whose autotuner may delay each epoch."""

from typing import Any

import keras

from tf_savae.core import private_keras
from tf_savae.core.typing import Config, Nest

__all__ = ["batches_of", "with_array_batches"]


def batches_of(
    data: tuple, size: int | None = None, steps: int | None = None, shuffle: bool | str = False
) -> Any:
    """Returns `private_keras.ArrayBatches` of arrays, or None for other kinds of data.

    Args:
      data: the tuple (x, y, sample_weight), as for `fit`.
      size: `batch_size` of `fit`.
      steps: `steps_per_epoch` of `fit`.
      shuffle: as for `fit`.

    >>> import numpy as np
    >>> batches_of((np.ones([5, 2]), None, None), 2).num_batches
    3
    """
    # This Keras setting for debugging limits the steps per epoch and, with them, the batch size.
    if keras.config.max_steps_per_epoch() or not private_keras.are_arrays(data):
        return None
    return private_keras.ArrayBatches(*data, batch_size=size, steps=steps, shuffle=shuffle)


def with_array_batches(x: Nest, y: Any, kwargs: Config) -> tuple[Any, Any, Config]:
    """Returns the arguments (x, y, kwargs) of `keras.Model.fit` with arrays replaced by batches.

    Validation data are replaced in the same way. Data other than arrays are returned unchanged.

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
