"""Train on several replicas (tf.distribute) with the results of a single process.

Each replica has some rows of the global batch, draws the same noise for them as a single process
(`tf_savae.core.batch_shard`) and computes their contribution to the gradient. If the model is
compiled with XLA, this is a separate XLA program per replica. The contributions are summed, and all
replicas apply the same update.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_savae.core import batch_shard
from tf_savae.core.typing import Nest, TensorLike
from tf_savae.models.keras_distribution import logs_of

__all__ = [
    "Part",
    "agreed",
    "assign",
    "least",
    "logs",
    "number",
    "once",
    "part_of",
    "run",
    "total",
]


class Part(NamedTuple):
    """One replica's part of a batch.

    Attributes:
      x: nest of tensors [b, ...].
      sample_weight: [b], or None.
      shard: the `Shard`; None without a strategy.
      weight: sum of the global batch's sample weights; None without a strategy.
      rows: b before padding: 0 if the replica received no rows.
    """

    x: Any
    sample_weight: Any
    shard: Any = None
    weight: Any = None
    rows: Any = None


def _context():
    """Returns the replica context under a strategy, else None."""
    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None


def number() -> int:
    """Returns the number of replicas, 1 without a strategy.

    >>> number()
    1
    """
    return tf.distribute.get_strategy().num_replicas_in_sync


def part_of(x: Nest, sample_weight: TensorLike, dtype: str) -> Part:
    """Returns the `Part` of a replica; without a strategy, the whole batch.

    A replica without rows, which occurs in the last batch of an epoch, gets one row of zeros with
    weight 0, since it must take part in every all-reduce.

    Args:
      x: nest of tensors [b, ...].
      sample_weight: [b] or None.
      dtype: dtype of sums of weights.
    """
    context = _context()
    if context is None:
        return Part(x, sample_weight)
    x = tf.nest.map_structure(tf.convert_to_tensor, x)
    known, rows = _rows(x)
    dtype = tf.float64 if dtype == "float64" else tf.float32
    weights = tf.ones([rows], dtype)
    if sample_weight is not None:
        weights = tf.cast(tf.convert_to_tensor(sample_weight), dtype)
    weight = tf.reduce_sum(weights)
    me, others = context.replica_id_in_sync_group, context.num_replicas_in_sync
    if isinstance(context.strategy, tf.distribute.TPUStrategy) and known is not None:
        # A TPU requires equal static sizes on all replicas.
        whole = tf.zeros([known * others])
        shard = batch_shard.Shard(tf.cast(me * known, tf.int32), whole)
        return Part(x, sample_weight, shard, total(weight), rows)
    mine = tf.one_hot(me, others, dtype=dtype) * tf.cast(rows, dtype)
    sums = total(tf.concat([mine, weight[None]], 0))
    sizes = tf.cast(sums[:-1], tf.int32)
    shard = batch_shard.Shard(
        tf.cumsum(sizes, exclusive=True)[me], tf.zeros([tf.reduce_sum(sizes)])
    )
    if not known:  # None, or 0.
        missing = tf.cast(tf.equal(rows, 0), tf.int32)
        x, weights = tf.nest.map_structure(lambda t: _longer(t, missing), (x, weights))
    # Without rows, `first` may equal the size of the global batch, which is not a valid row.
    shard = shard._replace(first=tf.minimum(shard.first, tf.shape(shard.whole)[0] - 1))
    return Part(x, weights, shard, sums[-1], rows)


def _rows(x):
    """Returns the number of rows of a nest: (int or None, int or tensor)."""
    first = tf.nest.flatten(x)[0]
    known = first.shape[0]
    return known, tf.shape(first)[0] if known is None else known


def _longer(tensor, rows):
    """Returns `tensor` with `rows` rows of zeros appended."""
    longer = tf.pad(tensor, [[0, rows]] + [[0, 0]] * (tensor.shape.rank - 1))
    longer.set_shape([None, *tensor.shape[1:]])
    return longer


def run(
    model: Any, name: str, function: Callable, shard: batch_shard.Shard | None, *arguments: Any
) -> Any:
    """Calls `function(model, *arguments)` for this replica's shard.

    If possible, the call is an XLA program of its own. It does not include the all-reduce, which
    XLA cannot compile on CPU and GPU.

    Args:
      model: the `BoundModel`.
      name: name of the function, which is compiled once per name and replica.
      shard: a `Shard`, or None without a strategy, where the function is called directly.
    """
    context = _context()
    if context is None:
        return function(model, *arguments)

    def shared(shard, *arguments):
        with batch_shard.shard_scope(shard):
            return tf.nest.map_structure(_dense, function(model, *arguments))

    whole = isinstance(context.strategy, tf.distribute.TPUStrategy)  # Compiled already.
    if whole or not model.jit_compile or model.run_eagerly:
        return shared(shard, *arguments)
    # One function per device, since it reads that replica's copies of the weights.
    key = ("replica", name, tf.constant(0).device)
    return model._traces.functions.get(key, shared, jit_compile=True)(shard, *arguments)


def _dense(value):
    return tf.convert_to_tensor(value) if isinstance(value, tf.IndexedSlices) else value


def total(values: Nest) -> Nest:
    """Returns the sum over replicas of a nest of tensors, on each replica; None stays None.

    >>> float(total(tf.constant(2.0)))
    2.0
    """
    context = _context()
    if context is None:
        return values
    flat = tf.nest.flatten(values)
    present = [v for v in flat if v is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    return tf.nest.pack_sequence_as(values, [None if v is None else next(sums) for v in flat])


def once(value: tf.Tensor) -> tf.Tensor:
    """Returns `value` on the first replica and 0 on the others, for values counted once per batch.

    >>> float(once(tf.constant(1.0)))
    1.0
    """
    context = _context()
    if context is None:
        return value
    first = tf.equal(context.replica_id_in_sync_group, 0)
    return tf.where(first, value, tf.zeros_like(value))


def assign(variables: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> None:
    """Assigns values, equal on all replicas, to Keras variables of any kind.

    >>> variable = keras.Variable(0.0)
    >>> assign([variable], [tf.constant(3.0)])
    >>> float(variable.value)
    3.0
    """
    context = _context()
    if context is None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    elif variables:
        context.merge_call(_assign_everywhere, args=([v.value for v in variables], list(values)))


def _assign_everywhere(strategy, variables, values):
    for variable, value in zip(variables, values, strict=True):
        strategy.extended.update(
            variable, lambda own, new: own.assign(tf.cast(new, own.dtype)), args=(value,)
        )


def logs(trackers: dict[str, keras.metrics.Metric]) -> dict[str, tf.Tensor]:
    """Returns the results of metrics {name: keras.metrics.Metric} over the rows of all replicas."""
    context = _context()
    if context is None:
        return {name: tracker.result() for name, tracker in trackers.items()}
    variables = [v for tracker in trackers.values() for v in tracker.variables]
    mine = [tf.cast(tf.convert_to_tensor(v.value), tf.float64) for v in variables]
    sums = tf.unstack(total(tf.stack(mine)), num=len(mine))  # One all-reduce for all of them.
    known = [(v, tf.cast(s, v.dtype)) for v, s in zip(variables, sums, strict=True)]
    with keras.StatelessScope(state_mapping=known):
        results = {name: tracker.result() for name, tracker in trackers.items()}
    return logs_of(results)


def agreed(value: float) -> float:
    """Returns the first replica's `value`, a number, on every process of a strategy.

    >>> agreed(3)
    3.0
    """

    def mine(context):
        first = tf.equal(context.replica_id_in_sync_group, 0)
        return tf.where(first, tf.constant(value, tf.float64), tf.zeros([], tf.float64))

    total = _sum_over_replicas(mine)
    return float(value) if total is None else float(total)


def least(value: int, count: int) -> int:
    """Returns the minimum over the processes of a strategy of `value`, from 0 to `count` - 1.

    >>> least(2, 3)
    2
    """
    votes = _sum_over_replicas(lambda context: tf.one_hot(value, count, dtype=tf.float64))
    return value if votes is None else int(tf.argmax(tf.cast(votes > 0, tf.int32)))


def _sum_over_replicas(mine):
    """Returns the sum of `mine(replica context)` over replicas; None if there is only one."""
    if not tf.distribute.has_strategy() or number() == 1:
        return None
    strategy = tf.distribute.get_strategy()

    def summed():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine(context))

    # A direct call would run replicas sequentially, each waiting for the all-reduce.
    results = strategy.run(tf.function(summed, autograph=False))
    return strategy.experimental_local_results(results)[0]
