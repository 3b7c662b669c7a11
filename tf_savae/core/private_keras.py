"""All private Keras APIs that the package uses. Checked with Keras 3.15.1.

tests/core/test_private_names.py checks that each name exists in the installed version and that no
other module uses private APIs. The exception are `HOOKS`, methods that models override.
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
    "is_validation_of_fit",
    "known_variables",
    "regularization_losses",
    "set_autocast_scope",
    "shown_shapes",
    "split_arrays",
    "strategy_of_model",
    "strategy_of_optimizer",
    "take_summed_gradients",
]

# Methods of keras.Model that tf_savae.models overrides. The errors of Keras mention losses, which
# these models do not have. Under a strategy, Keras averages a batch over its rows to build the
# model, and compiles the communication between replicas. There are no public hooks (3.15.1).
HOOKS = ("_assert_compile_called", "_maybe_symbolic_build", "_make_function")
# Attributes behind public properties of models, layers and optimizers (dtype_policy, jit_compile,
# learning_rate, run_eagerly, trainable), by their names in `vars` (3.15.1).
SETTINGS = ("_dtype_policy", "_jit_compile", "_learning_rate", "_run_eagerly", "_trainable")
# The argument by which `fit` has `evaluate` keep its data between epochs (3.15.1).
USED_BY_FIT = "_use_cached_eval_dataset"
# Modules of the classes of Keras 2, whose layers Keras 3 does not track.
LEGACY = ("tf_keras", "tensorflow.python.keras")


def autocast_scope() -> Any:
    """Returns the dtype to which variables are cast when read, or None; not public (3.15.1)."""
    return get_autocast_scope()


def set_autocast_scope(scope: Any) -> None:
    """Sets the autocast scope; with `AutocastScope(None)` variables report float32 (3.15.1)."""
    global_state.set_global_attribute("autocast_scope", scope)


def flatten_layers(layer: object) -> list[keras.Layer]:
    """Returns a layer and all its sublayers; `Model.layers` has only one level (3.15.1).

    For objects other than layers, the list is empty.
    """
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []


def regularization_losses(layer: keras.Layer) -> list[tf.Tensor]:
    """Returns the weight regularization losses of a layer, without activity losses (3.15.1)."""
    return layer._get_regularization_losses()


def is_default_build(layer: keras.Layer) -> bool:
    """Whether a layer does not override `build`, which needs an input shape in Keras (3.15.1)."""
    return getattr(type(layer).build, "_is_default", False)


def batch_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Returns the variable that counts batches; `iterations` counts updates (3.15.1)."""
    return optimizer._iterations


def known_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the weights for which a built optimizer has slots; not public (3.15.1)."""
    return optimizer._trainable_variables


def strategy_of_model(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns the strategy of a model or None; `distribute_strategy` has a default (3.15.1)."""
    return model._distribute_strategy


def strategy_of_optimizer(
    optimizer: keras.optimizers.Optimizer,
) -> tf.distribute.Strategy | None:
    """Returns the strategy under which its variables were created; not public (3.15.1)."""
    return getattr(optimizer, "_distribution_strategy", None)


def take_summed_gradients(optimizer: keras.optimizers.Optimizer) -> None:
    """Disables the sum of gradients over replicas, which Keras does after clipping (3.15.1)."""
    optimizer.__dict__["_all_reduce_sum_gradients"] = list


def are_arrays(data: tuple) -> bool:
    """Whether Keras treats (x, y, sample_weight) as arrays; not public (3.15.1)."""
    return can_convert_arrays(data)


def split_arrays(data: tuple, fraction: float) -> tuple[tuple, tuple]:
    """Returns (data, validation data) as split by `fit(validation_split=fraction)` (3.15.1)."""
    return array_slicing.train_validation_split(data, validation_split=fraction)


class ArrayBatches(ArrayDataAdapter):
    """Keras' adapter for arrays with the autotuning of tf.data disabled (3.15.1).

    An iterator that ends while the tuner's thread sleeps may wait until the thread wakes (see
    `tf_savae.data.prefetch`). `fit` ends an iterator after each epoch and each validation. Of 24
    iterators that ran for 0.5 s, 7 needed another 0.5 s to be destroyed; of 24 that ran for 15 to
    30 s, one needed 2.1 s. Without the tuner, none needed 0.1 s. Arrays in memory have no
    parameters to tune. Keras builds the pipeline, so batches, shuffles and seeds are unchanged.
    `fit`, `evaluate` and `predict` accept an adapter in place of x.

    >>> import numpy as np
    >>> batches = ArrayBatches(np.ones([5, 2]), batch_size=2).get_tf_dataset()
    >>> len(list(batches)), batches.options().autotune.enabled
    (3, False)
    """

    def get_tf_dataset(self) -> Any:
        """Returns the dataset that Keras reads."""
        options = tf.data.Options()
        options.autotune.enabled = False
        return super().get_tf_dataset().with_options(options)


@contextlib.contextmanager
def shown_shapes(shapes: Sequence[tuple[keras.Layer, Nest]]) -> Iterator[None]:
    """Context in which `Model.summary` shows the given output shapes, [(layer, nest of shapes)].

    Keras shows "?" for a layer that was called but does not override `build` (3.15.1).
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


def is_validation_of_fit(arguments: dict[str, Any]) -> bool:
    """Whether `fit` called `Model.evaluate` with these keyword arguments (3.15.1).

    >>> is_validation_of_fit({"verbose": 0}), is_validation_of_fit({USED_BY_FIT: True})
    (False, True)
    """
    return bool(arguments.get(USED_BY_FIT))
