"""Chooses the memory layout of a recurrence: batch first or features first.

On the CPU the product of few rows with a large matrix, [32, 1024] by [1024, 4096], takes twice as
long as the transposed product, [4096, 1024] by [1024, 32]: the kernels of both XLA and TensorFlow
repack the matrix in the first case and stream it in the second. In such cases the whole loop is
transposed. Transposing each product alone is undone by XLA, or costs as much as it saves.
Measurements: docs/performance.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core.devices import accelerators

__all__ = ["BATCH_FIRST", "Layout", "faster"]

_LEAST = 2**22  # Weights; smaller matrices stay in the cache in both layouts.
_ROWS = range(9, 49)  # With more rows, the arithmetic dominates the repacking.


class Layout(NamedTuple):
    """Memory layout inside the loop: tensors [B, F], or [F, B] if `features_first`.

    >>> Layout(True).turn(tf.zeros([2, 3])).shape.as_list()
    [3, 2]
    """

    features_first: bool

    def turn(self, tensor: tf.Tensor) -> tf.Tensor:
        """Converts a matrix from batch first to the layout of the loop, or back."""
        return tf.transpose(tensor) if self.features_first else tensor

    def project(self, state: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns h W in the loop, for `state` in its layout and `kernel` converted by `turn`."""
        return tf.matmul(kernel, state) if self.features_first else tf.matmul(state, kernel)

    def project_back(self, bar: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns the gradient in h, for the gradient `bar` in h W and `kernel` [H, G] as given."""
        if self.features_first:
            return tf.matmul(kernel, bar)
        return tf.matmul(bar, kernel, transpose_b=True)

    def cell(self, pointwise: Callable[[Any, Any], Any]) -> Callable[[tf.Tensor, Any], Any]:
        """Returns `pointwise` of (gates, state) as a function of (pre-activation, state)."""
        return lambda activation, state: pointwise(self._gates(activation, state[0]), state)

    def _gates(self, activation, like):
        # reshape + unstack: the gradient of a split or slice is a pad that XLA rejects in loops.
        if self.features_first:
            return tf.unstack(tf.reshape(activation, [-1, *like.shape]), axis=0)
        size = like.shape[1]
        return tf.unstack(tf.reshape(activation, [-1, activation.shape[1] // size, size]), axis=1)


BATCH_FIRST = Layout(False)


def faster(rows: int | None, kernel: tf.Tensor) -> Layout:
    """Returns the layout in which the product of `rows` examples and `kernel` [H, G] is faster.

    Args:
      rows: B, or None if it is unknown, which selects batch first.
      kernel: the recurrent weights.

    >>> faster(32, tf.zeros([8, 32]))
    Layout(features_first=False)
    """
    large = kernel.shape.num_elements() >= _LEAST
    return Layout(bool(large and rows in _ROWS and not accelerators()))
