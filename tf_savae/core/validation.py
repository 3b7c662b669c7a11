"""Validates arguments; messages state the expected value, the given value and the remedy."""

import difflib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np

from tf_savae.core.typing import Nest, TensorLike

if TYPE_CHECKING:  # Configurations are validated without TensorFlow.
    import tensorflow as tf

__all__ = [
    "boolean",
    "choice",
    "did_you_mean",
    "finite",
    "floating_nest",
    "non_negative_int",
    "per_example",
    "positive",
    "positive_int",
    "unit_interval",
]

_Value = TypeVar("_Value")


def _is_int(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def non_negative_int(name: str, value: Any) -> int:
    """Returns `value` as an int >= 0, or raises ValueError.

    >>> non_negative_int("steps", 3)
    3
    """
    if not _is_int(value) or value < 0:
        raise ValueError(f"{name}: expected an integer >= 0, got {value!r}.")
    return int(value)


def positive_int(name: str, value: Any) -> int:
    """Returns `value` as an int >= 1, or raises ValueError.

    >>> positive_int("samples", 2)
    2
    """
    if not _is_int(value) or value < 1:
        raise ValueError(f"{name}: expected an integer >= 1, got {value!r}.")
    return int(value)


def _is_number(value):
    numbers = (int, float, np.integer, np.floating)
    return isinstance(value, numbers) and not isinstance(value, bool) and np.isfinite(value)


@overload
def positive(
    name: str, value: Any, *, optional: Literal[False] = False, zero: bool = False
) -> float: ...


@overload
def positive(name: str, value: Any, *, optional: bool, zero: bool = False) -> float | None: ...


def positive(name: str, value: Any, *, optional: bool = False, zero: bool = False) -> float | None:
    """Returns `value` as a finite float > 0, or raises ValueError.

    None is accepted if `optional`, and 0 if `zero`.

    >>> positive("clip_norm", 5)
    5.0
    """
    if optional and value is None:
        return None
    bound = ">= 0" if zero else "> 0"
    if not _is_number(value) or value < 0 or (value == 0 and not zero):
        none = " or None" if optional else ""
        raise ValueError(f"{name}: expected a finite number {bound}{none}, got {value!r}.")
    return float(value)


def unit_interval(name: str, value: Any, *, closed: bool = True) -> float:
    """Returns `value` as a float in [0, 1] ([0, 1) unless `closed`), or raises ValueError.

    >>> unit_interval("momentum", 0.5)
    0.5
    """
    end = "]" if closed else ")"
    if not _is_number(value) or not 0 <= value <= 1 or (value == 1 and not closed):
        raise ValueError(f"{name}: expected a number in [0, 1{end}, got {value!r}.")
    return float(value)


def choice(name: str, value: _Value, options: Collection[Any]) -> _Value:
    """Returns `value` if it is one of `options`, or raises ValueError.

    >>> choice("adjoint", "exact", ("exact", "stop"))
    'exact'
    """
    if not isinstance(value, (str, type(None))) or value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, options))}; got {value!r}.")
    return value


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns the message ending " Did you mean NAME?", or "" if no name is similar.

    >>> did_you_mean("stpes", ["steps", "seed"])
    ' Did you mean steps?'
    """
    close = difflib.get_close_matches(name, list(names), 1)
    return f" Did you mean {close[0]}?" if close else ""


def boolean(name: str, value: Any) -> bool:
    """Returns `value` if it is a bool, or raises ValueError: a string would count as True.

    >>> boolean("learn_step_size", np.True_)
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, got {value!r}.")
    return bool(value)


def floating_nest(name: str, nest: Nest) -> Nest:
    """Returns `nest` as tensors; all leaves must be float32 or float64 of rank 1 or more.

    >>> [leaf.dtype.name for leaf in floating_nest("initial", [np.zeros([2, 3], "float32")])]
    ['float32']
    """
    import tensorflow as tf  # Imported here: configurations are validated without it.

    leaves = tf.nest.flatten(nest)
    if not leaves:
        raise ValueError(f"{name}: expected a nest with at least one tensor, got {nest!r}.")
    tensors = [tf.convert_to_tensor(leaf) for leaf in leaves]
    for index, leaf in enumerate(tensors):
        if leaf.dtype not in (tf.float32, tf.float64):
            raise TypeError(
                f"{name}: leaf {index} has dtype {leaf.dtype.name}; expected float32 or float64 "
                "(keep variational parameters in full precision; the decoder may compute in "
                "bfloat16)."
            )
        if leaf.shape.rank == 0:
            raise ValueError(
                f"{name}: leaf {index} is a scalar; expected batch-first tensors [B, ...]."
            )
        _like_the_first(name, index, leaf, tensors[0])
    return tf.nest.pack_sequence_as(nest, tensors)


def _like_the_first(name, index, leaf, first):
    if leaf.dtype != first.dtype:
        raise TypeError(
            f"{name}: expected leaves of one dtype, got {first.dtype.name} for leaf 0 and "
            f"{leaf.dtype.name} for leaf {index}."
        )
    if not leaf.shape[:1].is_compatible_with(first.shape[:1]):
        raise ValueError(
            f"{name}: expected leaves with one batch size, got shapes {first.shape.as_list()} for "
            f"leaf 0 and {leaf.shape.as_list()} for leaf {index}."
        )


def per_example(name: str, value: TensorLike, batch: int | None = None) -> "tf.Tensor":
    """Returns `value` if it is a float tensor [B], one per example, or raises ValueError.

    >>> per_example("negative_elbo", np.zeros([4])).shape.as_list()
    [4]
    """
    import tensorflow as tf  # Imported here: configurations are validated without it.

    value = tf.convert_to_tensor(value)
    if value.shape.rank != 1:
        raise ValueError(
            f"{name}: expected one number per example, shape [B]; got shape "
            f"{value.shape.as_list()}. Sum over time steps, pixels or features, not over examples."
        )
    known = value.shape[0]
    if batch is not None and known is not None and known not in (batch, None):
        raise ValueError(
            f"{name}: expected one number for each of the {batch} examples, got {known}."
        )
    if not value.dtype.is_floating:
        raise TypeError(f"{name}: expected a floating dtype, got {value.dtype.name}.")
    return value


def finite(name: str, array: _Value, remedy: str = "Clean the data first.") -> _Value:
    """Returns `array` if all numbers are finite, or raises ValueError with the number of others.

    >>> finite("x", np.ones([2])).tolist()
    [1.0, 1.0]
    """
    values = np.asarray(array)
    if values.dtype.kind == "f" or values.dtype.name == "bfloat16":
        known = values if values.dtype.kind == "f" else values.astype(np.float32)
        bad = int(np.size(values) - np.count_nonzero(np.isfinite(known)))
        if bad:
            raise ValueError(
                f"{name}: expected finite numbers, got {bad} NaN or infinite of {values.size}. "
                f"{remedy}"
            )
    return array
