"""Arguments of `BoundModel.compile`: check, save and restore them."""

from collections.abc import Callable
from typing import Any

import keras

from tf_savae.core import private_keras
from tf_savae.core.typing import Config
from tf_savae.models import keras_distribution

__all__ = ["check", "compile_from_config", "get_compile_config", "prepare_strategy"]


def check(
    model: Any, jit_compile: str | bool, metrics: dict[str, Callable] | None, others: dict[str, Any]
) -> None:
    """Raises ValueError for arguments of `compile` that the model cannot use."""
    name = type(model).__name__
    for loss in ("loss", "loss_weights", "weighted_metrics"):
        if others.get(loss) is not None:
            raise ValueError(
                f"{loss}: {name} has its own objective; expected None, got {others[loss]!r}."
            )
    if not isinstance(metrics, dict | None):
        raise ValueError(
            f"metrics: {name} has its own metrics; expected None, or additional ones as {{name: "
            f"function of the objective's Outcome -> [B]}}, got {metrics!r}."
        )
    if others.get("run_eagerly") and jit_compile is True:
        raise ValueError("jit_compile: expected False with run_eagerly=True, got True.")


def prepare_strategy(model: Any, steps_per_execution: int) -> None:
    """Prepares the optimizer for the model's `tf.distribute` strategy, if it has one."""
    if private_keras.strategy_of_model(model) is None:
        return
    keras_distribution.check_made_in_scope(model, model.optimizer)
    keras_distribution.sums_beforehand(model.optimizer)
    if steps_per_execution != 1:
        raise ValueError(
            "steps_per_execution: expected 1 under a tf.distribute strategy, where Keras does "
            f"not support more; got {steps_per_execution}. Leave it out."
        )
    keras_distribution.warn_of_layers(model._layers_to_compile())


def get_compile_config(model: Any) -> Config | None:
    """Returns the arguments of `compile` as JSON; "auto" is kept, to be resolved at loading."""
    if not model.compiled:
        return None
    optimizer = keras.saving.serialize_keras_object(model.optimizer)
    own = {n: keras.saving.serialize_keras_object(f) for n, f in model._bound_metrics.own.items()}
    return {"optimizer": optimizer, "metrics": own or None, **model._asked}


def compile_from_config(model: Any, config: Config) -> None:
    """Compiles a loaded model and creates the optimizer's slots, so that they can be loaded."""
    config = dict(config)
    config["optimizer"] = keras.saving.deserialize_keras_object(config["optimizer"])
    own = config.get("metrics") or {}
    config["metrics"] = {n: keras.saving.deserialize_keras_object(f) for n, f in own.items()}
    model.compile(**config)
    if model.built:
        model.optimizer.build(model.trainable_variables)
