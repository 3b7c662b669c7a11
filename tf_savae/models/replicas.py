"""Training on several replicas (tf.distribute): what one process computes, computed in parts.

Each replica holds some rows of the global batch, draws their noise as one process would
(`tf_savae.ground.shares`) and computes their part of the loss's gradient, in an XLA program of its
own where the model is compiled with XLA. The parts are summed, and every replica makes the same
update. The rest works around Keras 3.15, whose `fit` otherwise fails or differs under a strategy:

1. `compile(jit_compile=True)` compiles what joins replicas too, which cannot be: `joined_by_graph`.
2. Optimizers clip each replica's part of a gradient and not their sum: `sums_beforehand`.
3. Under MultiWorkerMirroredStrategy logs have to be of shape [1]: `logs`; and a batch is averaged
   over its rows to build a model: `BoundModel._maybe_symbolic_build` has nothing left to build.

tests/test_distribute.py fails when Keras needs one of them no longer.
"""

import contextlib
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from absl import logging

from tf_savae.ground import shares

__all__ = [
    "Part",
    "agreed",
    "as_shared",
    "assign",
    "check_made_in_scope",
    "is_target",
    "joined_by_graph",
    "logs",
    "number",
    "once",
    "part_of",
    "run",
    "sums_beforehand",
    "total",
    "warn_of_layers",
]


class Part(NamedTuple):
    """One replica's part of a batch.

    Attributes:
      x: nest of tensors [b, ...].
      sample_weight: [b], or None.
      share: the `Share`; None without a strategy.
      weight: sum of the global batch's sample weights; None without a strategy.
      rows: b as it came: less than x has where that was empty.
    """

    x: Any
    sample_weight: Any
    share: Any = None
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
    if known is not None:
        whole = tf.zeros([known * others])
        share = shares.Share(tf.cast(me * known, tf.int32), whole)
        return Part(x, sample_weight, share, total(weight), rows)
    mine = tf.one_hot(me, others, dtype=dtype) * tf.cast(rows, dtype)
    sums = total(tf.concat([mine, weight[None]], 0))
    sizes = tf.cast(sums[:-1], tf.int32)
    share = shares.Share(tf.cumsum(sizes, exclusive=True)[me], tf.zeros([tf.reduce_sum(sizes)]))
    missing = tf.cast(tf.equal(rows, 0), tf.int32)
    x, weights = tf.nest.map_structure(lambda t: _longer(t, missing), (x, weights))
    # The place of a row that nobody holds, where all rows are held by others.
    share = share._replace(first=tf.minimum(share.first, tf.shape(share.whole)[0] - 1))
    return Part(x, weights, share, sums[-1], rows)


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


def run(model, name, function, share, *arguments):
    """`function(*arguments)` for this replica's share, in an XLA program of its own if possible.

    The program ends before replicas are joined, which XLA cannot compile on CPU and GPU.

    Args:
      model: the `BoundModel`.
      name: of the function, which is compiled once per name and replica.
      share: a `Share`, or None without a strategy: then it is simply called.
    """
    context = _context()
    if context is None:
        return function(*arguments)

    def shared(share, *arguments):
        with shares.holding(share):
            return tf.nest.map_structure(_dense, function(*arguments))

    whole = isinstance(context.strategy, tf.distribute.TPUStrategy)  # Compiled already.
    if whole or not model.jit_compile or model.run_eagerly:
        return shared(share, *arguments)
    functions = model.__dict__.setdefault("_functions", {})
    # One for each device, since it reads that replica's copies of the weights.
    key = ("replica", name, tf.constant(0).device)
    if key not in functions:
        functions[key] = tf.function(shared, jit_compile=True, autograph=False)
    return functions[key](share, *arguments)


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
    if isinstance(context.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results


@contextlib.contextmanager
def joined_by_graph(model):
    """Inside, Keras compiles what joins the replicas of `model` without XLA."""
    chosen = model.jit_compile
    if model._distribute_strategy is not None:
        model.jit_compile = False
    try:
        yield
    finally:
        model.jit_compile = chosen


def sums_beforehand(optimizer):
    """Makes an optimizer take gradients that are sums over replicas already."""
    for part in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if part is not None:
            part.__dict__["_all_reduce_sum_gradients"] = list


def check_made_in_scope(model, optimizer):
    """Refuses what was made outside the strategy's scope, or outside of the model's.

    Raises:
      ValueError: the model or its optimizer belongs to another strategy than the current one.
    """
    current = tf.distribute.get_strategy()
    if tf.distribute.has_strategy() and model.distribute_strategy is not current:
        raise ValueError(
            "strategy: the model was made outside of this strategy's scope. Expected model and "
            "optimizer to be made inside `with strategy.scope():`."
        )
    theirs = getattr(optimizer, "_distribution_strategy", None)
    if model._distribute_strategy is not None and theirs is not model._distribute_strategy:
        raise ValueError(
            "optimizer: it was made outside of the scope of the model's strategy. Expected it to "
            "be made inside `with strategy.scope():`, as the model was."
        )


def warn_of_layers(layers):
    """Says which layers make the result depend on the number of replicas."""
    inner = {type(part) for layer in layers for part in layer._flatten_layers()}
    reasons = {
        keras.layers.BatchNormalization: "normalises each replica's rows by themselves",
        keras.layers.Dropout: "draws for each replica by itself",
    }
    for kind, reason in reasons.items():
        if number() > 1 and any(issubclass(found, kind) for found in inner):
            logging.warning(
                "%s %s: training on %d replicas is as good, but its numbers are not those of "
                "one process",
                kind.__name__,
                reason,
                number(),
            )


def as_shared(x, model):
    """A dataset whose rows, where no other way is asked for, are dealt out to the processes.

    By rows (`AutoShardPolicy.DATA`), which is what equals one process; TensorFlow's own choice
    looks for files first. Other data than a `tf.data.Dataset` are returned as they are.

    TensorFlow cannot deal out None, which (x, None, sample_weight) has in place of targets: it
    becomes a target of no width, for which see `is_target`.
    """
    if not isinstance(x, tf.data.Dataset) or model._distribute_strategy is None:
        return x
    options = tf.data.Options()
    policies = tf.data.experimental.AutoShardPolicy
    if x.options().experimental_distribute.auto_shard_policy == policies.AUTO:
        options.experimental_distribute.auto_shard_policy = policies.DATA
    spec = x.element_spec
    if isinstance(spec, tuple) and len(spec) == 3 and isinstance(spec[1], tf.NoneTensorSpec):
        x = x.map(lambda rows, _, weights: (rows, tf.zeros_like(weights)[:, None][:, :0], weights))
    return x.with_options(options)


def is_target(y):
    """Whether y is a target, and neither None nor what `as_shared` puts in its place.

    >>> is_target(None), is_target(tf.zeros([4, 0])), is_target(tf.zeros([4]))
    (False, False, True)
    """
    return y is not None and getattr(y, "shape", [None])[1:] != [0]


def agreed(value):
    """The first replica's `value`, a number, on every process of a strategy.

    >>> agreed(3)
    3.0
    """
    if not tf.distribute.has_strategy() or number() == 1:
        return float(value)
    strategy = tf.distribute.get_strategy()

    def mine():
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        own = tf.where(first, tf.constant(value, tf.float64), tf.zeros([], tf.float64))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    # A plain call would run replicas one after the other, each waiting for the sum.
    results = strategy.run(tf.function(mine, autograph=False))
    return float(strategy.experimental_local_results(results)[0])
