"""Update rule of a refinement layer: a rule object, or the settings of `Momentum`."""

import functools
import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae.core import validation
from tf_savae.core.autocast import full_precision
from tf_savae.core.typing import Config, MixedIn, Nest
from tf_savae.models.refinement.steps_schedule import last
from tf_savae.svi import Momentum
from tf_savae.svi.rule_checks import as_rule, check_rule

__all__ = ["HasUpdateRule", "warn_of_more_steps"]

_STEP_SIZE = 0.02  # Near the reference code's 1 on a batch mean of 50.
_SHORT_FORMS = ("step_size", "momentum", "clip_norm")  # None with an update rule.
_DEFAULTS = {"momentum": 0.5, "clip_norm": 5.0}  # Not used with an update rule.


class HasUpdateRule(MixedIn):
    """Mixin of `SemiAmortizedRefinement` for the update rule and its weights."""

    def _set_rule(self, update, step_size, momentum, clip_norm, learn_step_size):
        """Stores either the update rule or the settings of `Momentum`."""
        self.learn_step_size = validation.boolean("learn_step_size", learn_step_size)
        if update is not None:
            short = {"step_size": step_size, "momentum": momentum, "clip_norm": clip_norm}
            self.update = as_rule(update, _DEFAULTS, **short)
            return
        self.update = None
        self.step_size = _STEP_SIZE if step_size is None else step_size
        self.momentum = validation.unit_interval("momentum", momentum, closed=False)
        self.clip_norm = clip_norm
        if self.learn_step_size and not np.all(self.step_size):
            raise ValueError(
                "step_size: expected numbers > 0 with learn_step_size=True, which trains their "
                f"logarithms; got {step_size!r}."
            )

    def __setattr__(self, name, value):
        if name in _SHORT_FORMS and value is not None and self.__dict__.get("update") is not None:
            raise ValueError(
                f"{name}: the update rule {type(self.update).__name__} has its own settings; got "
                f"{value!r}. Assign another rule to update instead."
            )
        if name == "update" and "update" in self.__dict__:
            self._check_exchange(value)
        if name == "update" and value is not None:
            self._check_update(value)
        if name == "step_size" and self.__dict__.get("log_step_size") is not None:
            raise ValueError(
                f"step_size: is learned as the weight log_step_size; got {value!r}. Assign the "
                "logarithm to that weight."
            )
        super().__setattr__(name, value)
        if name == "update" and value is not None:
            for short in _SHORT_FORMS:
                super().__setattr__(short, None)

    def _check_exchange(self, rule):
        """Raises ValueError unless the rule of a layer may be replaced by `rule`."""
        old = self.__dict__["update"]
        if rule is old:
            return
        if isinstance(old, keras.layers.Layer) or isinstance(rule, keras.layers.Layer):
            raise ValueError(
                "update: a rule with weights cannot be changed after the layer is created, since "
                f"the optimizer tracks these weights; got {type(rule).__name__} for "
                f"{type(old).__name__}. Create a new SemiAmortizedRefinement and a new model, and "
                "copy the weights with `start_from`."
            )
        if rule is None:
            raise ValueError("update: expected another update rule, got None.")

    def _check_update(self, rule):
        as_rule(rule, {}, step_size=None)
        if self.learn_step_size:
            raise ValueError(
                "learn_step_size: expected False with update=, since the rule has its own step "
                "sizes; got True. Use update=svi.LearnedSteps()."
            )

    def build(self, parameters_shape: Any = None, x_shape: Any = None) -> None:
        if self.learn_step_size:
            logs = np.log(np.broadcast_to(self.step_size, [self._tensor_count()]))
            self.log_step_size = self.add_weight(
                logs.shape, lambda shape, dtype: tf.constant(logs, dtype), name="log_step_size"
            )
        self.built = True

    def _tensor_count(self):
        """Returns the number of learned step sizes: one for each of the family's tensors."""
        try:
            return len(tf.nest.flatten(self.family.zeros(1, 1)))
        except NotImplementedError:  # A plain function has no shapes: one size for all tensors.
            return 1 if isinstance(self.step_size, float) else len(self.step_size)

    def current_step_size(self, initial: Nest) -> Nest:
        """Returns the step sizes in the form that `refine` expects."""
        sizes = self.step_size
        if self.learn_step_size:
            if not self.built:
                self.build()
            with full_precision():
                sizes = tf.unstack(tf.exp(tf.convert_to_tensor(self.log_step_size)))
        if isinstance(sizes, float):
            return sizes
        count = len(tf.nest.flatten(initial))
        if len(sizes) == 1:
            sizes = list(sizes) * count
        if len(sizes) != count:
            raise ValueError(
                f"step_size: expected one number, or one for each of the {count} parameter "
                f"tensors; got {len(sizes)}."
            )
        return tf.nest.pack_sequence_as(initial, list(sizes))

    @property
    def last_steps(self) -> int:
        """K, or the last K of a schedule, which inference uses."""
        return last(self.steps)

    def rule(self, initial: Nest) -> Any:
        """Returns the update rule for parameters like `initial`, a nest of tensors [B, ...]."""
        if self.update is not None:
            return self.update
        return Momentum(self.current_step_size(initial), self.momentum, self.clip_norm)

    def build_rule(self, initial: Nest) -> None:
        """Validates the update rule, and builds it if it is a layer.

        Args:
          initial: nest of tensors [B, ...], the variational parameters of some examples.

        Raises:
          ValueError: the rule changes shapes, mixes examples, or is incompatible with the
            parameters.
        """
        _refuse_variables(self.update)
        check_rule(self.rule(initial), initial)

    def largest_step_size(self) -> float | None:
        """Returns the current largest step size of `Momentum`, a float; None for other rules."""
        if self.update is not None:
            return None
        if self.log_step_size is not None:
            return float(np.exp(np.max(self.log_step_size.numpy())))
        return float(np.max(self.step_size))

    def rule_config(self) -> Config:
        """Returns the constructor arguments of the update rule."""
        if self.update is None:
            sizes = list(self.step_size) if isinstance(self.step_size, tuple) else self.step_size
            return {"step_size": sizes, "momentum": self.momentum, "clip_norm": self.clip_norm}
        return {"update": _serialized_rule(self.update)}


def _refuse_variables(rule):
    """Raises ValueError for a rule with trainable variables that is not a Keras layer.

    Keras would not train these variables.
    """
    if isinstance(rule, keras.layers.Layer):
        return
    for name, value in getattr(rule, "__dict__", {}).items():
        for leaf in tf.nest.flatten(value):
            if isinstance(leaf, (tf.Variable, keras.Variable)) and leaf.trainable:
                raise ValueError(
                    f"update: {type(rule).__name__}.{name} is a variable that no model would "
                    "train. Use numbers or tensors, or make the rule a keras.layers.Layer with "
                    "add_weight."
                )


def _serialized_rule(rule):
    if not hasattr(rule, "get_config"):
        raise ValueError(
            f"update: {type(rule).__name__} cannot be saved without get_config. Define get_config, "
            "and register the class with keras.saving.register_keras_serializable."
        )
    return keras.saving.serialize_keras_object(rule)


def warn_of_more_steps(layer: HasUpdateRule, steps: int) -> None:
    """Logs once if a rule with weights takes more steps than it was trained for.

    On images with a PixelCNN, 10 steps of a rule trained for 5 raised the bound by 4.6 nats
    (docs/results_images.md).
    """
    if not isinstance(steps, numbers.Integral):
        return  # An error elsewhere.
    if steps > layer.last_steps and getattr(layer.update, "trainable_variables", None):
        _warn(type(layer.update).__name__, layer.last_steps, steps)


@functools.cache  # Once for each pair of numbers.
def _warn(rule, trained, steps):
    logging.warning(
        "steps: %s was trained for K = %d and may be worse with %d steps. Compare the bounds on "
        "validation data first (docs/guide.md, K).",
        rule,
        trained,
        steps,
    )
