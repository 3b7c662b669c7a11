"""Every private Keras API that is used, in one place. Checked with Keras 3.15.1.

tests/core/test_private_names.py looks for each name in the installed version, and sees to it that
no other module uses one. `HOOKS` are the exception: methods that models override, by their name.
"""

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import get_autocast_scope

__all__ = [
    "HOOKS",
    "LEGACY",
    "SETTINGS",
    "autocast_scope",
    "batch_counter",
    "flatten_layers",
    "is_default_build",
    "known_variables",
    "regularization_losses",
    "set_autocast_scope",
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


def autocast_scope():
    """The dtype that variables are cast to when read, or None: only layers may ask (3.15.1)."""
    return get_autocast_scope()


def set_autocast_scope(scope):
    """Sets that dtype. `AutocastScope(None)` would make float variables report float32 (3.15.1)."""
    global_state.set_global_attribute("autocast_scope", scope)


def flatten_layers(layer):
    """A layer and its sublayers, [] for other objects: `Model.layers` has one level (3.15.1)."""
    return list(layer._flatten_layers()) if isinstance(layer, keras.layers.Layer) else []


def regularization_losses(layer):
    """Of the weights of a layer and its sublayers, without activity losses (3.15.1)."""
    return layer._get_regularization_losses()


def is_default_build(layer):
    """Whether a layer has no `build` of its own: Keras' raises without an input shape (3.15.1)."""
    return getattr(type(layer).build, "_is_default", False)


def batch_counter(optimizer):
    """The variable that counts batches; with accumulation `iterations` is updates (3.15.1)."""
    return optimizer._iterations


def known_variables(optimizer):
    """The weights that a built optimizer has slots for; nothing public lists them (3.15.1)."""
    return optimizer._trainable_variables


def strategy_of_model(model):
    """The strategy it was made under, else None; `distribute_strategy` has a default (3.15.1)."""
    return model._distribute_strategy


def strategy_of_optimizer(optimizer):
    """The strategy whose replicas its variables are on; nothing public says it (3.15.1)."""
    return getattr(optimizer, "_distribution_strategy", None)


def take_summed_gradients(optimizer):
    """Makes it expect gradients summed over replicas: Keras clips before it sums (3.15.1)."""
    optimizer.__dict__["_all_reduce_sum_gradients"] = list
