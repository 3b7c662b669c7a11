"""Check the validation data of `fit`, and the arguments that go with them."""

from typing import Any

import keras

from tf_savae.core import validation
from tf_savae.models.validation.streams import BatchChecks, look

__all__ = ["checked_validation"]

_NOT_GIVEN = {
    "validation_batch_size": (None,),
    "validation_steps": (None,),
    "validation_freq": (1, None),
}


def checked_validation(model: Any, batches: BatchChecks, options: dict[str, Any]) -> Any:
    """Returns `validation_data` in Keras' form, checked before the first epoch.

    Args:
      model: a `BoundModel`.
      batches: its `BatchChecks` of this pass.
      options: keyword arguments of `fit`.

    Raises:
      ValueError: invalid data, or an argument that would have no effect.
    """
    data, size = options.get("validation_data"), options.get("validation_batch_size")
    if size is not None:
        validation.positive_int("validation_batch_size", size)
    if data is not None and options.get("validation_split"):
        raise ValueError(
            "validation_split: expected none together with validation_data, which Keras would use "
            f"instead; got {options['validation_split']!r}. Leave one of them out."
        )
    if data is None:
        _refuse_without_data(options)
        return None
    if isinstance(data, (tuple, list)):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return (x, *model._checked(x, y, sample_weight))
    model._check_arrays(data)
    data = batches.source(data, batch_size=size, name="validation_batch_size")
    look(data)
    return model._source(data)


def _refuse_without_data(options):
    if options.get("validation_split"):
        return
    for name, defaults in _NOT_GIVEN.items():
        value = options.get(name, defaults[0])
        if not any(value is default for default in defaults):
            raise ValueError(
                f"{name}: requires validation_data or validation_split, which were not given; got "
                f"{value!r}. Leave it out."
            )
