"""Type aliases shared by annotations; shapes are given in docstrings.

Type checkers treat TensorFlow and Keras types as `Any`, since there are no stubs. The aliases
document for readers what is a tensor and what may also be an array or a number.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:  # Configurations use these aliases without TensorFlow.
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

Nest: TypeAlias = Any  # Tensors or arrays in tuples, lists and dicts; or a single one.
TensorLike: TypeAlias = Any  # Any input of `tf.convert_to_tensor`: number, list, array, tensor.
Distribution: TypeAlias = Any  # A TFP distribution.
Seed: TypeAlias = Union[int, Sequence[int], "tf.Tensor"]  # noqa: UP007 An int, or a stateless seed [2].
PathLike: TypeAlias = str | os.PathLike
Steps: TypeAlias = int | dict[int, int]  # K, or a schedule {training step: K}.
Config: TypeAlias = dict[str, Any]  # A constructor's arguments, as JSON or for Keras' files.
NegativeElbo: TypeAlias = Callable[[Nest, Nest, "tf.Tensor"], "tf.Tensor"]

# The base class of mixins, which use attributes of the class that inherits from them.
if TYPE_CHECKING:
    MixedIn: Any
else:
    MixedIn = object
