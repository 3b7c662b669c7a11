"""Validate sample weights, and pass them to Keras in a form that preserves them."""

import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.typing import TensorLike

__all__ = [
    "as_pair",
    "check_no_class_weight",
    "check_sample_weight",
    "is_arrays",
    "with_targets",
    "weights_like",
]


def is_arrays(x: Any) -> bool:
    """Returns whether x is a nest of arrays, and not a source of batches.

    >>> is_arrays({"a": np.ones([2])}), is_arrays(tf.data.Dataset.range(2))
    (True, False)
    """
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(
        hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") for leaf in leaves
    )


def check_sample_weight(sample_weight: TensorLike, x: Any) -> TensorLike:
    """Returns the weights as a NumPy array or tensor [N], or None for None.

    Args:
      sample_weight: a number >= 0 for each example of x, or None.
      x: nest of arrays [N, ...]; for other types the number of examples is unknown.

    Raises:
      TypeError: the weights are not numeric.
      ValueError: the shape is not [N], the number of weights differs from the number of examples,
        a weight is NaN, infinite or negative, or all weights are 0.

    >>> check_sample_weight([1, 2], np.ones([2, 3])).tolist()
    [1, 2]
    """
    if sample_weight is None:
        return None
    values = np.asarray(sample_weight)
    if values.dtype.kind not in "fiub" and values.dtype.name != "bfloat16":
        raise TypeError(f"sample_weight: expected numbers, got dtype {values.dtype.name}.")
    if values.ndim != 1:
        raise ValueError(
            "sample_weight: expected one weight per example, shape [N]; got shape "
            f"{list(values.shape)}."
        )
    rows = keras.tree.flatten(x)[0].shape[0] if is_arrays(x) else None
    if rows is not None and len(values) != rows:
        raise ValueError(
            f"sample_weight: expected one weight for each of the {rows} examples of x, got "
            f"{len(values)}."
        )
    validation.finite("sample_weight", values)
    if values.size and values.min() < 0:
        raise ValueError(f"sample_weight: expected numbers >= 0, got {values.min()}.")
    if not np.any(values):
        raise ValueError("sample_weight: expected a weight above 0, got only zeros.")
    return sample_weight if tf.is_tensor(sample_weight) else values


def check_no_class_weight(class_weight: Any) -> None:
    """Raises ValueError unless `class_weight` is None.

    >>> check_no_class_weight(None)
    """
    if class_weight is not None:
        raise ValueError(
            "class_weight: expected None, since the targets are the data themselves and have no "
            f"classes; got {class_weight!r}. Give each example its weight: sample_weight=[...]."
        )


def as_pair(x: Any, sample_weight: TensorLike) -> tuple[np.ndarray | None, TensorLike]:
    """Returns (y, sample_weight) in a form that `keras.Model.fit` preserves.

    Keras silently drops the weights of arrays without targets. A target of shape [N, 0] preserves
    them; training steps treat it as no target (`keras_distribution.is_target`).

    >>> y, weights = as_pair(np.ones([2, 3]), np.ones([2]))
    >>> y.shape
    (2, 0)
    """
    if sample_weight is None or not is_arrays(x):
        return None, sample_weight
    return _no_target(sample_weight), sample_weight


def _no_target(sample_weight):
    return np.zeros([len(sample_weight), 0], keras.config.floatx())


def with_targets(x: Any) -> Any:
    """Returns a generator or `keras.utils.PyDataset` in a form that Keras accepts; else x itself.

    Keras converts both into a tf.data.Dataset, which cannot represent the None in (x, None,
    sample_weight). It is replaced by a target of shape [B, 0].

    >>> next(with_targets(batch for batch in [(np.ones([2, 3]), None, np.ones([2]))]))[1].shape
    (2, 0)
    """
    if isinstance(x, types.GeneratorType):
        return (_targeted(batch) for batch in x)
    return _Targeted(x) if isinstance(x, keras.utils.PyDataset) else x


def _targeted(batch):
    if isinstance(batch, (tuple, list)) and len(batch) == 3 and batch[1] is None:
        x, _, sample_weight = batch
        return batch if sample_weight is None else (x, _no_target(sample_weight), sample_weight)
    return batch


class _Targeted(keras.utils.PyDataset):
    """Wraps a `PyDataset`; its weighted batches get targets of shape [B, 0]."""

    def __init__(self, source):
        names = ("workers", "use_multiprocessing", "max_queue_size")
        super().__init__(**{name: getattr(source, name) for name in names})
        self._source = source

    @property
    def num_batches(self):
        return self._source.num_batches

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        return _targeted(self._source[index])

    def on_epoch_begin(self):
        self._source.on_epoch_begin()

    def on_epoch_end(self):
        self._source.on_epoch_end()


def weights_like(sample_weight: TensorLike, loss: tf.Tensor) -> tf.Tensor:
    """Returns the weights of a step's examples in the dtype of its loss [B]; ones for None.

    Raises:
      ValueError: the static shape is not one weight per example. If the shape is unknown, the step
        fails at run time when the number of weights differs.

    >>> weights_like(None, tf.zeros([2])).numpy().tolist()
    [1.0, 1.0]
    """
    if sample_weight is None:
        return tf.ones_like(loss)
    weights = tf.cast(tf.convert_to_tensor(sample_weight), loss.dtype)
    if not weights.shape.is_compatible_with(loss.shape) or weights.shape.rank != 1:
        raise ValueError(
            f"sample_weight: expected one weight per example, shape {loss.shape.as_list()}; got "
            f"shape {weights.shape.as_list()}."
        )
    # A single weight would be broadcast. XLA has static sizes and ignores assertions; graphs remove
    # reshapes between unknown sizes. Hence both the assertion and the reshape.
    same = tf.debugging.assert_equal(
        tf.shape(weights), tf.shape(loss), "sample_weight: expected one weight per example."
    )
    with tf.control_dependencies([] if same is None else [same]):
        return tf.reshape(weights, tf.shape(loss))
