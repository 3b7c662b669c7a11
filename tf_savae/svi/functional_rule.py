"""An update rule as a differentiable function of flat lists of tensors.

The loops use flat lists, and derivatives need all tensors that a step depends on. `BoundRule`
provides both, so that an update rule itself can be short.
"""

import contextlib
import copy
import inspect
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core.autocast import full_precision
from tf_savae.core.typing import Nest, TensorLike
from tf_savae.svi.objective import dense
from tf_savae.svi.per_example import Tensors

__all__ = ["BoundRule"]


class BoundRule:
    """An update rule bound to the structure of the parameters.

    Args:
      rule: an object with `init` and `update`, see `tf_savae.svi.update`.
      parameters: nest that gives the structure.

    Attributes:
      takes_step: whether the rule's `update` has a fourth parameter `step`, the index of the step.
      weights: the float tensors that may receive gradients: weights of a Keras layer, or
        tensors and variables among the rule's attributes.

    >>> from tf_savae.svi.update import Momentum
    >>> bound = BoundRule(Momentum(tf.constant(0.5), momentum=0.0), (tf.ones([1, 1]),))
    >>> moved, _ = bound.update(
    ...     bound.weights, [tf.ones([1, 1])], [tf.zeros([1, 1])], [tf.ones([1, 1])], 0)
    >>> moved[0].numpy().tolist()
    [[0.5]]
    """

    def __init__(self, rule: Any, parameters: Nest) -> None:
        self._rule, self._parameters, self._state = rule, parameters, None
        self.name = type(rule).__name__
        self.takes_step = _takes_step(rule)
        self._variables: list[keras.Variable] | None = None
        with full_precision():
            if isinstance(rule, keras.layers.Layer):
                # Including frozen weights, whose TensorFlow variables are still trainable.
                self._variables = [v for v in rule.weights if _is_float(v)]
                self.weights = [tf.convert_to_tensor(v.value) for v in self._variables]
            else:
                leaves = tf.nest.flatten(_attributes(rule))
                self.weights = [_tensor(leaf) for leaf in leaves if _is_float(leaf)]

    def init(self, weights: Tensors, parameters: Tensors) -> Tensors:
        """Returns the state before the first step, a flat list."""
        with self._holding(weights) as rule:
            state = rule.init(self._packed(parameters))
        self._state = state  # Only its structure is used.
        return [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(state)]

    def update(
        self,
        weights: Tensors,
        gradient: Tensors,
        state: Tensors,
        parameters: Tensors,
        step: TensorLike,
    ) -> tuple[Tensors, Tensors]:
        """Returns the next (parameters, state), flat lists."""
        arguments = [self._packed(gradient), tf.nest.pack_sequence_as(self._state, state)]
        arguments.append(self._packed(parameters))
        if self.takes_step:
            arguments.append(tf.convert_to_tensor(step, tf.int32))
        with self._holding(weights) as rule:
            moved, following = rule.update(*arguments)
        return tf.nest.flatten(moved), tf.nest.flatten(following)

    def pull_back(
        self,
        weights: Tensors,
        gradient: Tensors,
        state: Tensors,
        parameters: Tensors,
        step: TensorLike,
        bars: Tensors,
    ) -> list[Tensors]:
        """Multiplies adjoints of the results of `update` by its transposed Jacobian.

        Args:
          weights, gradient, state, parameters, step: as for `update`.
          bars: adjoints of the next parameters and of the next state, one flat list.

        Returns:
          Adjoints of (weights, gradient, state, parameters), four flat lists.
        """
        # Copies, since one tensor may occur several times, each with a derivative of its own.
        parts = [
            [tf.identity(tensor) for tensor in part]
            for part in (weights, gradient, state, parameters)
        ]
        flat = [tensor for part in parts for tensor in part]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(flat)
            moved, following = self.update(parts[0], parts[1], parts[2], parts[3], step)
            results = [tf.identity(tensor) for tensor in (*moved, *following)]
        pulled = iter(dense(tape.gradient(results, flat, output_gradients=bars), flat))
        return [[next(pulled) for _ in part] for part in parts]

    def pull_back_init(
        self, weights: Tensors, parameters: Tensors, state_bar: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Returns the adjoints of (weights, parameters) through `init`, two flat lists."""
        flat = [tf.identity(tensor) for tensor in (*weights, *parameters)]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(flat)
            state = [tf.identity(s) for s in self.init(flat[: len(weights)], flat[len(weights) :])]
        bars = dense(tape.gradient(state, flat, output_gradients=state_bar), flat)
        return bars[: len(weights)], bars[len(weights) :]

    def _packed(self, tensors):
        return tf.nest.pack_sequence_as(self._parameters, tensors)

    @contextlib.contextmanager
    def _holding(self, weights):
        """Context that yields the rule with `weights` in place of its own weights."""
        if self._variables is not None:
            pairs = zip(self._variables, weights, strict=True)
            with full_precision(), keras.StatelessScope(state_mapping=list(pairs)):
                yield self._rule
        elif weights:
            supply = iter(weights)
            attributes = tf.nest.map_structure(
                lambda leaf: next(supply) if _is_float(leaf) else leaf, _attributes(self._rule)
            )
            yield _with_attributes(self._rule, attributes)
        else:
            yield self._rule


def _takes_step(rule):
    try:
        parameters = list(inspect.signature(rule.update).parameters)
    except (TypeError, ValueError):
        return False
    return parameters[3:4] == ["step"]


def _attributes(rule):
    if isinstance(rule, tuple) and hasattr(rule, "_asdict"):  # A NamedTuple.
        return rule._asdict()
    return dict(getattr(rule, "__dict__", {}))


def _with_attributes(rule, attributes):
    if isinstance(rule, tuple) and hasattr(rule, "_replace"):
        return rule._replace(**attributes)
    held = copy.copy(rule)
    held.__dict__.update(attributes)  # Bypasses frozen classes and properties.
    return held


def _is_float(leaf):
    if isinstance(leaf, keras.Variable):
        return tf.as_dtype(leaf.dtype).is_floating
    return tf.is_tensor(leaf) and leaf.dtype.is_floating


def _tensor(leaf):
    return tf.convert_to_tensor(leaf.value if isinstance(leaf, keras.Variable) else leaf)
