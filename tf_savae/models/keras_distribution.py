"""Work around Keras 3.15 under tf.distribute, so that `fit` equals a single process.

1. `compile(jit_compile=True)` also compiles the all-reduce, which fails: `joined_by_graph`.
2. Optimizers clip each replica's gradient and not the sum: `sums_beforehand`.
3. Under MultiWorkerMirroredStrategy logs must have shape [1]: `logs_of`. Keras also averages a
   batch over replicas to build a model: `BoundModel._maybe_symbolic_build` avoids it.
4. A finite dataset that contains None cannot be distributed: `as_shared`.

tests/training/test_distribution.py fails when a workaround is no longer needed.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

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
def joined_by_graph(model: Any) -> Iterator[None]:
    """Context in which Keras compiles the all-reduce over replicas of `model` without XLA."""
    chosen = model.jit_compile
    if private_keras.strategy_of_model(model) is not None:
        model.jit_compile = False
    try:
        yield
    finally:
        model.jit_compile = chosen


def sums_beforehand(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes an optimizer accept gradients that are already summed over replicas."""
    for part in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if part is not None:
            private_keras.take_summed_gradients(part)


def check_made_in_scope(model: Any, optimizer: keras.optimizers.Optimizer) -> None:
    """Raises ValueError if model or optimizer was created outside of the strategy's scope.

    Raises:
      ValueError: the model or its optimizer belongs to another strategy than the current one.
    """
    current, own = tf.distribute.get_strategy(), private_keras.strategy_of_model(model)
    if tf.distribute.has_strategy() and own is not current:
        raise ValueError(
            "strategy: the model was created outside of this strategy's scope. Expected model and "
            "optimizer to be created inside `with strategy.scope():`."
        )
    if own is not None and private_keras.strategy_of_optimizer(optimizer) is not own:
        raise ValueError(
            "optimizer: it was created outside of the scope of the model's strategy. Expected it "
            "to be created inside `with strategy.scope():`, as the model was."
        )


def warn_of_layers(layers: Iterable[keras.layers.Layer]) -> None:
    """Warns of layers whose results depend on the number of replicas."""
    count = tf.distribute.get_strategy().num_replicas_in_sync
    inner = {type(part) for layer in layers for part in private_keras.flatten_layers(layer)}
    reasons = {
        keras.layers.BatchNormalization: "normalises the rows of each replica separately",
        keras.layers.Dropout: "draws masks for each replica separately",
    }
    for kind, reason in reasons.items():
        if count > 1 and any(issubclass(found, kind) for found in inner):
            logging.warning(
                "%s %s: training on %d replicas is valid, but its results differ from those of "
                "one process",
                kind.__name__,
                reason,
                count,
            )


def as_shared(x: Any, model: Any) -> Any:
    """Returns a dataset that is sharded by rows over the processes, unless configured otherwise.

    Sharding by rows (`AutoShardPolicy.DATA`) gives the results of one process; TensorFlow's default
    prefers sharding by files. Data other than a `tf.data.Dataset` are returned unchanged.

    TensorFlow cannot distribute None, the targets of (x, None, sample_weight): it is replaced by a
    target of width 0, see `is_target`.
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


def is_target(y: Any) -> bool:
    """Returns whether y is a target, and neither None nor the placeholder of `as_shared`.

    >>> is_target(None), is_target(tf.zeros([4, 0])), is_target(tf.zeros([4]))
    (False, False, True)
    """
    return y is not None and list(getattr(y, "shape", [None])[1:]) != [0]


def logs_of(results: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns results {name: scalar} of metrics in the shape required of a step in a replica."""
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, [1]) for name, value in results.items()}
    return results
