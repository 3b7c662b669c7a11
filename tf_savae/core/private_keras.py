"""Every private Keras API that is used, in one place. Checked with Keras 3.15.1.

tests/core/test_private_names.py looks for each name in the installed version, and sees to it that
no other module uses one. `HOOKS` are the exception: methods that models override, by their name.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.trainers.data_adapters import array_slicing
from keras.src.trainers.data_adapters.array_data_adapter import (
    ArrayDataAdapter,
    can_convert_arrays,
)

from tf_savae.core.typing import Nest

__all__ = [
    "HOOKS",
    "LEGACY",
    "SETTINGS",
    "ArrayBatches",
    "are_arrays",
    "autocast_scope",
    "batch_counter",
    "flatten_layers",
    "is_default_build",
    "known_variables",
    "regularization_losses",
    "set_autocast_scope",
    "shown_shapes",
    "split_arrays",
    "strategy_of_model",
    "strategy_of_optimizer",
    "take_summed_gradients",
]

# Methods of keras.Model that tf_savae.models overrides: Keras' errors would name losses that a
# bound does not have; under a strategy it builds by averaging a batch over its rows, and compiles
# what joins replicas. Keras has no public hook for any of them (3.15.1).
HOOKS = ("_assert_compile_called", "_maybe_symbolic_build", "_make_function")
# Attributes behind public properties of models, layers and optimizers (dtype_policy, jit_compile,
# learning_rate, run_eagerly, trainable): `vars` knows them by these names alone (3.15.1).
SETTINGS = ("_dtype_policy", "_jit_compile", "_learning_rate", "_run_eagerly", "_trainable")
# Modules of Keras 2, whose layers Keras 3 does not track: recognised by a class's module.
LEGACY = ("tf_keras", "tensorflow.python.keras")


def autocast_scope() -> Any:
    """The dtype that variables are cast to when read, or None: only layers may ask (3.15.1)."""
    return get_autocast_scope()


def set_autocast_scope(scope: Any) -> None:
    """Sets that dtype. `AutocastScope(None)` would make float variables report float32 (3.15.1)."""
    global_state.set_global_attribute("autocast_scope", scope)


def flatten_layers(layer: object) -> list[keras.Layer]:
    """A layer and its sublayers, [] for other objects: `Model.layers` has one level (3.15.1)."""
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []


def regularization_losses(layer: keras.Layer) -> list[tf.Tensor]:
    """Of the weights of a layer and its sublayers, without activity losses (3.15.1)."""
    return layer._get_regularization_losses()


def is_default_build(layer: keras.Layer) -> bool:
    """Whether a layer has no `build` of its own: Keras' raises without an input shape (3.15.1)."""
    return getattr(type(layer).build, "_is_default", False)


def batch_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The variable that counts batches; with accumulation `iterations` is updates (3.15.1)."""
    return optimizer._iterations


def known_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The weights that a built optimizer has slots for; nothing public lists them (3.15.1)."""
    return optimizer._trainable_variables


def strategy_of_model(model: keras.Model) -> tf.distribute.Strategy | None:
    """The strategy it was made under, else None; `distribute_strategy` has a default (3.15.1)."""
    return model._distribute_strategy


def strategy_of_optimizer(
    optimizer: keras.optimizers.Optimizer,
) -> tf.distribute.Strategy | None:
    """The strategy whose replicas its variables are on; nothing public says it (3.15.1)."""
    return getattr(optimizer, "_distribution_strategy", None)


def take_summed_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes it expect gradients summed over replicas: Keras clips before it sums (3.15.1)."""
    optimizer.__dict__["_all_reduce_sum_gradients"] = list


def are_arrays(data: tuple) -> bool:
    """Whether Keras takes (x, y, sample_weight) for arrays; nothing public says it (3.15.1)."""
    return can_convert_arrays(data)


def split_arrays(data: tuple, fraction: float) -> tuple[tuple, tuple]:
    """(data, validation data) as `fit(validation_split=fraction)` splits arrays (3.15.1)."""
    return array_slicing.train_validation_split(data, validation_split=fraction)


class ArrayBatches(ArrayDataAdapter):
    """Keras' adapter for arrays, whose pipeline has tf.data's tuner switched off (3.15.1).

    An iterator that ends while the tuner's thread sleeps may have to wait for its next turn (see
    `tf_savae.data.prefetch`), and `fit` ends one with each epoch and each validation: of 24
    iterators that lived for half a second 7 took as long again to go away, and one of 24 that lived
    for 15 to 30 seconds took 2.1 s; without a tuner none took 0.1 s. Arrays in memory have nothing
    to tune. Batches, shuffles and seeds are Keras', which builds the pipeline. `fit`, `evaluate`
    and `predict` take an adapter in place of x.

    >>> import numpy as np
    >>> batches = ArrayBatches(np.ones([5, 2]), batch_size=2).get_tf_dataset()
    >>> len(list(batches)), batches.options().autotune.enabled
    (3, False)
    """

    def get_tf_dataset(self) -> Any:
        """The dataset that Keras reads."""
        options = tf.data.Options()
        options.autotune.enabled = False
        return super().get_tf_dataset().with_options(options)


@contextlib.contextmanager
def shown_shapes(shapes: Sequence[tuple[keras.Layer, Nest]]) -> Iterator[None]:
    """Within it `Model.summary` shows what layers give, [(layer, nest of shapes)].

    Keras shows "?" of a layer that was called and has no `build` of its own (3.15.1).
    """
    before = [(layer, dict(vars(layer))) for layer, _ in shapes]
    for layer, shape in shapes:
        vars(layer)["_build_shapes_dict"] = {"input_shape": ()}
        vars(layer)["compute_output_shape"] = lambda shape=shape, **_: shape
    try:
        yield
    finally:
        for layer, attributes in before:
            for name in ("_build_shapes_dict", "compute_output_shape"):
                vars(layer).pop(name)
                if name in attributes:
                    vars(layer)[name] = attributes[name]
