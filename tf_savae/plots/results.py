"""Takes a plotted result as it is, or computes it from a model and data."""

from collections.abc import Callable
from typing import Any

import keras

__all__ = ["result_of"]


def result_of(name: str, given: Any, compute: Callable[..., Any], data: Any, **options: Any) -> Any:
    """Returns `given`, or `compute(given, data, **options)` if it is a model.

    Args:
      name: name of the argument `given`, for messages.
      given: a result, or a `keras.Model`.
      compute: function of a model and data.
      data: what the model is evaluated on; None with a result.
      **options: options of `compute`; none with a result.

    Raises:
      ValueError: a model without data, or a result with data or options, which it would ignore.

    >>> result_of("curve", [1.0, 2.0], sum, None)
    [1.0, 2.0]
    """
    if isinstance(given, keras.Model):
        if data is None:
            raise ValueError("data: expected the data to evaluate the model on, got None.")
        return compute(given, data, **options)
    ignored = [*(["data"] if data is not None else []), *options]
    if ignored:
        raise ValueError(
            f"{', '.join(ignored)}: only with a model, got a result, "
            f"{name}={type(given).__name__}(...), where it has no effect."
        )
    return given
