"""Type aliases shared by annotations; shapes are given in docstrings.

TensorFlow and Keras have no stubs that checkers could follow, so what is a tensor, and what may be
an array or a number just as well, is said for people.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:  # Configurations are annotated too, and are made without TensorFlow.
    import tensorflow as tf

__all__ = [
    "Config",
    "Distribution",
    "MixedIn",
    "NegativeElbo",
    "Nest",
    "PathLike",
    "Seed",
    "Steps",
    "TensorLike",
]

Nest: TypeAlias = Any  # Tensors, or arrays, in tuples, lists and dicts; or one alone.
TensorLike: TypeAlias = Any  # What `tf.convert_to_tensor` takes: a number, list, array or tensor.
Distribution: TypeAlias = Any  # A TFP distribution.
Seed: TypeAlias = Union[int, Sequence[int], "tf.Tensor"]  # noqa: UP007 An int, or a stateless seed [2].
PathLike: TypeAlias = str | os.PathLike
Steps: TypeAlias = int | dict[int, int]  # K, or a schedule {training step: K}.
Config: TypeAlias = dict[str, Any]  # A constructor's arguments, as JSON or for Keras' files.
NegativeElbo: TypeAlias = Callable[[Nest, Nest, "tf.Tensor"], "tf.Tensor"]

# The base of mixins: they use attributes of the class that they are mixed into.
if TYPE_CHECKING:
    MixedIn: Any
else:
    MixedIn = object
