"""Train on several replicas (tf.distribute) with the numbers of a single process.

Each replica holds some rows of the global batch, draws their noise as one process would
(`tf_savae.core.batch_shard`) and computes their part of the loss's gradient, in an XLA program of
its own where the model is compiled with XLA. The parts are summed, and every replica makes the same
update.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_savae.core import batch_shard
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
      rows: b as it came: less than x has where that was empty.
    """

    x: Any
    sample_weight: Any
    shard: Any = None
    weight: Any = None
    rows: Any = None


def _context():
    """The replica context under a strategy that was asked for, else None."""
    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None


def number():
    """How many replicas train together: 1 without a strategy.

    >>> number()
    1
    """
    return tf.distribute.get_strategy().num_replicas_in_sync


def part_of(x, sample_weight, dtype):
    """The `Part` that a replica was handed; without a strategy, the batch as it is.

    A replica without a row, as the last batch of an epoch may leave it, gets one of zeros, of
    weight 0: it has to take part in every sum.

    Args:
      x: nest of tensors [b, ...].
      sample_weight: [b] or None.
      dtype: of sums of weights.
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
        # It takes parts of one known size, and no sizes that are known later.
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
    # The place of a row that nobody holds, where all rows are held by others.
    shard = shard._replace(first=tf.minimum(shard.first, tf.shape(shard.whole)[0] - 1))
    return Part(x, weights, shard, sums[-1], rows)


def _rows(x):
    """Rows of a nest of tensors: as an int or None, and as an int or tensor."""
    first = tf.nest.flatten(x)[0]
    known = first.shape[0]
    return known, tf.shape(first)[0] if known is None else known


def _longer(tensor, rows):
    """`tensor` with `rows` rows of zeros behind it."""
    longer = tf.pad(tensor, [[0, rows]] + [[0, 0]] * (tensor.shape.rank - 1))
    longer.set_shape([None, *tensor.shape[1:]])
    return longer


def run(model, name, function, shard, *arguments):
    """`function(*arguments)` for this replica's shard, in an XLA program of its own if possible.

    The program ends before replicas are joined, which XLA cannot compile on CPU and GPU.

    Args:
      model: the `BoundModel`.
      name: of the function, which is compiled once per name and replica.
      shard: a `Shard`, or None without a strategy: then it is simply called.
    """
    context = _context()
    if context is None:
        return function(*arguments)

    def shared(shard, *arguments):
        with batch_shard.shard_scope(shard):
            return tf.nest.map_structure(_dense, function(*arguments))

    whole = isinstance(context.strategy, tf.distribute.TPUStrategy)  # Compiled already.
    if whole or not model.jit_compile or model.run_eagerly:
        return shared(shard, *arguments)
    # One for each device, since it reads that replica's copies of the weights.
    key = ("replica", name, tf.constant(0).device)
    return model._functions_kept().get(key, shared, jit_compile=True)(shard, *arguments)


def _dense(value):
    return tf.convert_to_tensor(value) if isinstance(value, tf.IndexedSlices) else value


def total(values):
    """The sum over replicas of a nest of tensors, on each of them; None stays None.

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


def once(value):
    """`value` on the first replica and 0 on the others, for what is counted once a batch.

    >>> float(once(tf.constant(1.0)))
    1.0
    """
    context = _context()
    if context is None:
        return value
    first = tf.equal(context.replica_id_in_sync_group, 0)
    return tf.where(first, value, tf.zeros_like(value))


def assign(variables, values):
    """Writes values, the same on each replica, to Keras variables of any kind.

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


def logs(trackers):
    """The results of metrics {name: keras.metrics.Metric} over all replicas' rows so far."""
    context = _context()
    if context is None:
        return {name: tracker.result() for name, tracker in trackers.items()}
    variables = [v for tracker in trackers.values() for v in tracker.variables]
    mine = [tf.cast(tf.convert_to_tensor(v.value), tf.float64) for v in variables]
    sums = tf.unstack(total(tf.stack(mine)), num=len(mine))  # One message, not one for each.
    known = [(v, tf.cast(s, v.dtype)) for v, s in zip(variables, sums, strict=True)]
    with keras.StatelessScope(state_mapping=known):
        results = {name: tracker.result() for name, tracker in trackers.items()}
    return logs_of(results)


def agreed(value):
    """The first replica's `value`, a number, on every process of a strategy.

    >>> agreed(3)
    3.0
    """

    def mine(context):
        first = tf.equal(context.replica_id_in_sync_group, 0)
        return tf.where(first, tf.constant(value, tf.float64), tf.zeros([], tf.float64))

    total = _sum_over_replicas(mine)
    return float(value) if total is None else float(total)


def least(value, count):
    """The least `value`, of 0 to `count` - 1, that any process of a strategy has.

    >>> least(2, 3)
    2
    """
    votes = _sum_over_replicas(lambda context: tf.one_hot(value, count, dtype=tf.float64))
    return value if votes is None else int(tf.argmax(tf.cast(votes > 0, tf.int32)))


def _sum_over_replicas(mine):
    """The sum of what `mine(replica context)` gives in each replica; None where there is one."""
    if not tf.distribute.has_strategy() or number() == 1:
        return None
    strategy = tf.distribute.get_strategy()

    def summed():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine(context))

    # A plain call would run replicas one after the other, each waiting for the sum.
    results = strategy.run(tf.function(summed, autograph=False))
    return strategy.experimental_local_results(results)[0]
