"""What is wrong with arrays, said before any long work starts."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.ground import checks

__all__ = ["check_arrays"]


def check_arrays(x, vocabulary_size=None, data_range=None):
    """Checks every array and eager tensor of x; anything else (a dataset) passes.

    Args:
      x: nest of arrays [B, ...].
      vocabulary_size: V; integer arrays of rank 2 then hold token ids in [0, V).
      data_range: (low, high) of what the likelihood is of, where x is one array; None where it is
        of any number.

    Raises:
      ValueError: no examples, a scalar, NaN or infinity, unequal numbers of examples, or a token id
        or another number out of range.
      TypeError: numbers were expected.

    >>> check_arrays(np.ones([2, 3]))
    """
    arrays = [leaf for leaf in keras.tree.flatten(x) if _is_array(leaf)]
    for array in arrays:
        if np.ndim(array) == 0:
            raise ValueError("x: expected arrays [B, ...], one row per example; got a scalar.")
        if not array.shape[0]:
            raise ValueError(f"x: expected at least one example, got shape {tuple(array.shape)}.")
        _check_numbers(array)
        if vocabulary_size is not None:
            _check_tokens(np.asarray(array), vocabulary_size)
        if data_range is not None and not isinstance(x, dict) and len(arrays) == 1:
            _check_range(np.asarray(array), *data_range)
    if len({array.shape[0] for array in arrays}) > 1:
        shapes = [tuple(array.shape) for array in arrays]
        raise ValueError(f"x: expected arrays with one number of examples, got shapes {shapes}.")


def _is_array(leaf):
    plain = isinstance(leaf, (np.ndarray, np.generic, int, float))
    return plain or (tf.is_tensor(leaf) and hasattr(leaf, "numpy"))


def _check_numbers(array):
    kind = np.asarray(array).dtype
    if kind.kind not in "fiub" and kind.name != "bfloat16":
        raise TypeError(f"x: expected numbers, got dtype {kind.name}.")
    checks.finite("x", array)


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
            f"x: expected numbers from {low} to {high}, which the decoder's likelihood is of, got "
            f"{wrong}. Scale the data (pixels of 0 to 255: divide them by 255), or choose another "
            "likelihood."
        )
