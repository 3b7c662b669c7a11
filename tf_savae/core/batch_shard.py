"""The shard of a global batch on this replica; noise per row does not depend on the sharding.

One process draws noise for its whole batch from one seed. A replica that holds some rows of the
batch draws the same numbers for the whole of it and keeps those of its rows: how many replicas
there are, and which of them holds an example, then changes nothing. Whoever draws noise for a batch
says so with `draw_sharded`; without a current shard it simply draws.
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
      whole: tensor [G] of any content: its length is the size of the global batch. A tensor and not
        a number, since XLA wants to know sizes when it compiles.
    """

    first: Any
    whole: Any

    def rows(self, count: TensorLike) -> tf.Tensor:
        """The numbers of the `count` rows held here, int32 [count]."""
        return self.first + tf.range(count)

    def size(self) -> int | tf.Tensor:
        """G, as an int where it is known and a tensor elsewhere."""
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
    """The `Shard` of this computation, or None."""
    return _CURRENT.get()


def draw_sharded(
    draw: Callable[[TensorLike], tf.Tensor], count: TensorLike, axis: int = 0
) -> tf.Tensor:
    """`draw(count)`, or those rows of `draw(G)` that this replica holds.

    Args:
      draw: maps a number of rows to a tensor with so many entries along `axis`.
      count: B, rows of the batch at hand.
      axis: where the rows are.

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
