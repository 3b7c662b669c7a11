"""The shard of a global batch on this replica; noise per row does not depend on the sharding.

A single process draws noise for its whole batch from one seed. A replica draws the same numbers for
the global batch and keeps those of its own rows. The noise of an example therefore depends neither
on the number of replicas nor on the replica that holds it. All code that draws noise for a batch
uses `draw_sharded`.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core.typing import TensorLike

__all__ = ["Shard", "draw_sharded", "current_shard", "shard_scope"]


class Shard(NamedTuple):
    """Rows `first`, `first + 1`, ... of a global batch.

    Attributes:
      first: int32 scalar.
      whole: tensor [G] with arbitrary content, whose length is the size of the global batch. It is
        a tensor and not a number, because XLA requires static sizes.
    """

    first: Any
    whole: Any

    def rows(self, count: TensorLike) -> tf.Tensor:
        """Returns the indices of the `count` rows of this shard, int32 [count]."""
        return self.first + tf.range(count)

    def size(self) -> int | tf.Tensor:
        """Returns G as an int if it is static, else as a tensor."""
        known = self.whole.shape[0]
        return tf.shape(self.whole)[0] if known is None else known


_CURRENT: contextvars.ContextVar[Shard | None] = contextvars.ContextVar("shard", default=None)


@contextlib.contextmanager
def shard_scope(shard: Shard | None) -> Iterator[None]:
    """Context in which noise is drawn for `shard`, a `Shard`, or for the whole batch (None)."""
    token = _CURRENT.set(shard)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_shard() -> Shard | None:
    """Returns the `Shard` of the current `shard_scope`, or None."""
    return _CURRENT.get()


def draw_sharded(
    draw: Callable[[TensorLike], tf.Tensor], count: TensorLike, axis: int = 0
) -> tf.Tensor:
    """Returns `draw(count)`, or the rows of `draw(G)` that belong to the current shard.

    Args:
      draw: maps a number of rows to a tensor with that many entries along `axis`.
      count: B, the number of rows of the local batch.
      axis: the axis of the rows.

    >>> def noise(rows):
    ...     return tf.random.stateless_normal([rows, 3], seed=[0, 7])
    >>> with shard_scope(Shard(tf.constant(4), tf.zeros([8]))):
    ...     second_half = draw_sharded(noise, 4)
    >>> bool(tf.reduce_all(second_half == draw_sharded(noise, 8)[4:]))
    True
    """
    shard = _CURRENT.get()
    if shard is None:
        return draw(count)
    return tf.gather(draw(shard.size()), shard.rows(count), axis=axis)
