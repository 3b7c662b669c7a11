"""Work around Keras 3.15 under tf.distribute, so that `fit` equals a single process.

1. `compile(jit_compile=True)` compiles what joins replicas too, which cannot be: `joined_by_graph`.
2. Optimizers clip each replica's part of a gradient and not their sum: `sums_beforehand`.
3. Under MultiWorkerMirroredStrategy logs have to be of shape [1]: `logs_of`; and to build a model a
   batch is averaged over replicas: `BoundModel._maybe_symbolic_build` has nothing left to build.
4. A finite dataset that holds None cannot be dealt out: `as_shared`.

tests/training/test_distribution.py fails when Keras needs one of them no longer.
"""

import contextlib

import keras
import tensorflow as tf
from absl import logging

from tf_savae.core import private_keras

__all__ = [
    "as_shared",
    "check_made_in_scope",
    "is_target",
    "joined_by_graph",
    "logs_of",
    "sums_beforehand",
    "warn_of_layers",
]


@contextlib.contextmanager
def joined_by_graph(model):
    """Inside, Keras compiles what joins the replicas of `model` without XLA."""
    chosen = model.jit_compile
    if private_keras.strategy_of_model(model) is not None:
        model.jit_compile = False
    try:
        yield
    finally:
        model.jit_compile = chosen


def sums_beforehand(optimizer):
    """Makes an optimizer take gradients that are sums over replicas already."""
    for part in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if part is not None:
            private_keras.take_summed_gradients(part)


def check_made_in_scope(model, optimizer):
    """Refuses what was made outside the strategy's scope, or outside of the model's.

    Raises:
      ValueError: the model or its optimizer belongs to another strategy than the current one.
    """
    current, own = tf.distribute.get_strategy(), private_keras.strategy_of_model(model)
    if tf.distribute.has_strategy() and own is not current:
        raise ValueError(
            "strategy: the model was made outside of this strategy's scope. Expected model and "
            "optimizer to be made inside `with strategy.scope():`."
        )
    if own is not None and private_keras.strategy_of_optimizer(optimizer) is not own:
        raise ValueError(
            "optimizer: it was made outside of the scope of the model's strategy. Expected it to "
            "be made inside `with strategy.scope():`, as the model was."
        )


def warn_of_layers(layers):
    """Says which layers make the result depend on the number of replicas."""
    count = tf.distribute.get_strategy().num_replicas_in_sync
    inner = {type(part) for layer in layers for part in private_keras.flatten_layers(layer)}
    reasons = {
        keras.layers.BatchNormalization: "normalises each replica's rows by themselves",
        keras.layers.Dropout: "draws for each replica by itself",
    }
    for kind, reason in reasons.items():
        if count > 1 and any(issubclass(found, kind) for found in inner):
            logging.warning(
                "%s %s: training on %d replicas is as good, but its numbers are not those of "
                "one process",
                kind.__name__,
                reason,
                count,
            )


def as_shared(x, model):
    """A dataset whose rows, where no other way is asked for, are dealt out to the processes.

    By rows (`AutoShardPolicy.DATA`), which is what equals one process; TensorFlow's own choice
    looks for files first. Other data than a `tf.data.Dataset` are returned as they are.

    TensorFlow cannot deal out None, which (x, None, sample_weight) has in place of targets: it
    becomes a target of no width, for which see `is_target`.
    """
    if not isinstance(x, tf.data.Dataset) or private_keras.strategy_of_model(model) is None:
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
    return y is not None and list(getattr(y, "shape", [None])[1:]) != [0]


def logs_of(results):
    """Results of metrics {name: scalar} as a step has to return them in a replica."""
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results
