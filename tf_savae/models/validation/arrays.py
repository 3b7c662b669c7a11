"""Validate input arrays before training."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.typing import Nest

__all__ = ["check_arrays", "refuse_sparse"]

# Class names that Keras accepts and no likelihood here does, and how to convert to dense tensors.
_NOT_DENSE = {
    "SparseTensor": "tf.sparse.to_dense(x)",
    "SparseTensorSpec": "dataset.map(tf.sparse.to_dense)",
    "RaggedTensor": "x.to_tensor() with the padding value that the model expects",
    "RaggedTensorSpec": "dataset.map(lambda x: x.to_tensor()), or dataset.padded_batch",
}


def check_arrays(
    x: Nest,
    vocabulary_size: int | None = None,
    data_range: tuple[float, float] | None = None,
    finite: bool = True,
) -> None:
    """Checks every array and eager tensor of x; other leaves, such as a dataset, are accepted.

    Args:
      x: nest of arrays [B, ...].
      vocabulary_size: V; if given, x must be integer token ids in [0, V), of rank 2.
      data_range: (low, high), the support of the likelihood, checked if x is one array; None for
        an unbounded support.
      finite: whether NaN and infinity are rejected. The range is checked in both cases.

    Raises:
      ValueError: x has no examples, a scalar, NaN or infinity, unequal numbers of examples, or a
        token id or another number that is out of range.
      TypeError: x is not numeric or not dense.

    >>> check_arrays(np.ones([2, 3]))
    """
    refuse_sparse(x)
    arrays = [leaf for leaf in keras.tree.flatten(x) if _is_array(leaf)]
    for array in arrays:
        if np.ndim(array) == 0:
            raise ValueError("x: expected arrays [B, ...], one row per example; got a scalar.")
        if not array.shape[0]:
            raise ValueError(f"x: expected at least one example, got shape {tuple(array.shape)}.")
        _check_numbers(array, finite)
        if vocabulary_size is not None:
            _check_tokens(np.asarray(array), vocabulary_size)
        if data_range is not None and not isinstance(x, dict) and len(arrays) == 1:
            _check_range(np.asarray(array), *data_range)
    if len({array.shape[0] for array in arrays}) > 1:
        shapes = [tuple(array.shape) for array in arrays]
        raise ValueError(f"x: expected arrays with one number of examples, got shapes {shapes}.")


def refuse_sparse(x: Nest) -> None:
    """Raises TypeError if x contains a sparse or ragged tensor, or the spec of one.

    >>> refuse_sparse(np.ones([2, 3]))
    """
    for leaf in keras.tree.flatten(x):
        kind = type(leaf).__name__
        scipy = type(leaf).__module__.startswith("scipy.sparse")
        remedy = "x.toarray()" if scipy else _NOT_DENSE.get(kind)
        if remedy is not None:
            raise TypeError(
                f"x: expected dense arrays [B, ...], got a {kind} of shape "
                f"{list(leaf.shape)}. Make it dense first: {remedy}."
            )


def _is_array(leaf):
    """Returns whether `leaf` is a concrete array of any library, not a symbolic tensor."""
    if tf.is_tensor(leaf):
        return hasattr(leaf, "numpy")
    if isinstance(leaf, keras.KerasTensor):
        return False
    return isinstance(leaf, (np.generic, int, float)) or hasattr(leaf, "__array__")


def _check_numbers(array, finite):
    kind = np.asarray(array).dtype
    if kind.kind not in "fiub" and kind.name != "bfloat16":
        raise TypeError(f"x: expected numbers, got dtype {kind.name}.")
    if finite:
        validation.finite("x", array)


def _check_tokens(array, vocabulary_size):
    if array.dtype.kind not in "iu" or array.ndim != 2:
        raise ValueError(
            f"x: expected integer token ids [B, T], got dtype {array.dtype.name} and shape "
            f"{array.shape}."
        )
    low, high = array.min(initial=0), array.max(initial=0)
    if low < 0 or high >= vocabulary_size:
        wrong = low if low < 0 else high
        raise ValueError(
            f"x: expected token ids from 0 to {vocabulary_size - 1} (vocabulary_size="
            f"{vocabulary_size}), got {wrong}. Encode the text with the model's own vocabulary."
        )


def _check_range(array, low, high):
    if not array.size:
        return
    least, largest = array.min(), array.max()
    if least < low or largest > high:
        wrong = least if least < low else largest
        raise ValueError(
            f"x: expected numbers from {low} to {high}, the support of the decoder's likelihood, "
            f"got {wrong}. Scale the data (divide pixels from 0 to 255 by 255), or use another "
            "likelihood."
        )
