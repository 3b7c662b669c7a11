"""Choose the memory layout of a recurrence: batch first or features first.

On the CPU the product of few rows with a large matrix, [32, 1024] by [1024, 4096], takes twice as
long as the same product turned round, [4096, 1024] by [1024, 32]: the kernels of both XLA and
TensorFlow repack the matrix in the one and stream it in the other. Where that is so the whole loop
is turned, as turning each product alone is undone by XLA or costs what it saves. Numbers:
docs/performance.md.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core.devices import accelerators

__all__ = ["EXAMPLES_FIRST", "Orientation", "faster"]

_LEAST = 2**22  # Weights: smaller matrices stay in cache, repacked or not.
_ROWS = range(9, 49)  # With more, the arithmetic hides the repacking.


class Orientation(NamedTuple):
    """Whether tensors [B, F] are transposed to [F, B] inside the loop.

    >>> Orientation(True).turn(tf.zeros([2, 3])).shape.as_list()
    [3, 2]
    """

    features_first: bool

    def turn(self, tensor: tf.Tensor) -> tf.Tensor:
        """Transposes a matrix into the loop's orientation, or back."""
        return tf.transpose(tensor) if self.features_first else tensor

    def project(self, state: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """h W inside the loop: `state` as it lies there, `kernel` [H, G] through `turn`."""
        return tf.matmul(kernel, state) if self.features_first else tf.matmul(state, kernel)

    def project_back(self, bar: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The gradient in h inside the loop, from that in h W; `kernel` [H, G] as it is."""
        if self.features_first:
            return tf.matmul(kernel, bar)
        return tf.matmul(bar, kernel, transpose_b=True)

    def cell(self, pointwise: Callable[[Any, Any], Any]) -> Callable[[tf.Tensor, Any], Any]:
        """`pointwise` of (gates, state) as a function of (pre-activation, state) in the loop."""
        return lambda activation, state: pointwise(self._gates(activation, state[0]), state)

    def _gates(self, activation, like):
        # reshape + unstack: the gradient of a split or slice is a pad that XLA rejects in loops.
        if self.features_first:
            return tf.unstack(tf.reshape(activation, [-1, *like.shape]), axis=0)
        size = like.shape[1]
        return tf.unstack(tf.reshape(activation, [-1, activation.shape[1] // size, size]), axis=1)


EXAMPLES_FIRST = Orientation(False)


def faster(rows: int | None, kernel: tf.Tensor) -> Orientation:
    """The orientation in which `rows` examples times `kernel` [H, G] is faster.

    Args:
      rows: B, or None where it is not known; then examples come first.
      kernel: the recurrent weights.

    >>> faster(32, tf.zeros([8, 32]))
    Orientation(features_first=False)
    """
    large = kernel.shape.num_elements() >= _LEAST
    return Orientation(bool(large and rows in _ROWS and not accelerators()))
