"""Validate an update rule on a few random rows before any long work."""

import weakref
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import private_keras
from tf_savae.core.typing import Nest
from tf_savae.svi.functional_rule import BoundRule
from tf_savae.svi.update import Momentum, NaturalGradient

__all__ = ["as_rule", "check_rule"]

_ROWS = 3
# {rule: the shapes for which it was checked}.
_KNOWN: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def as_rule(update: Any, defaults: dict[str, Any], **short: Any) -> Any:
    """Returns the update rule of these arguments: `update`, or `Momentum` from its short forms.

    Args:
      update: a rule, or None.
      defaults: values of the short forms that count as not given.
      short: step_size, momentum and clip_norm.

    Raises:
      ValueError: both were given, or neither.

    >>> as_rule(None, {}, step_size=0.1, momentum=0.5, clip_norm=None).momentum
    0.5
    """
    if update is None:
        if short["step_size"] is None:
            raise ValueError(
                "step_size: expected a number, or an update rule as update=; got neither."
            )
        return Momentum(**short)
    given = [name for name, value in short.items() if not _same(value, defaults.get(name))]
    if given:
        raise ValueError(
            f"{', '.join(given)}: expected None together with update=, since the rule has its own "
            f"settings; got {', '.join(f'{name}={short[name]!r}' for name in given)}. Pass them "
            "to the rule."
        )
    missing = [name for name in ("init", "update") if not callable(getattr(update, name, None))]
    if missing or isinstance(update, type):
        raise ValueError(
            "update: expected an object with the methods init(parameters) and update(gradient, "
            f"state, parameters), such as svi.Momentum(0.1); got {update!r}."
        )
    return update


def _same(value, default):
    return value is default or (np.isscalar(value) and value == default)


def check_rule(rule: Any, initial: Nest) -> None:
    """Creates the weights of a rule that is a layer, and tests the rule on random rows.

    Args:
      rule: the update rule.
      initial: nest of tensors [B, ...], for structure, shapes and dtype.

    Raises:
      ValueError: `init` or `update` changes shapes, dtypes or structure, or mixes examples.

    >>> check_rule(Momentum(0.1), [tf.zeros([4, 2])])
    """
    if type(rule) in (Momentum, NaturalGradient):  # Tested with the package.
        return
    leaves = tf.nest.flatten(initial)
    key = (tuple(tuple(leaf.shape[1:].as_list()) for leaf in leaves), leaves[0].dtype)
    try:
        known = _KNOWN.setdefault(rule, set())
    except TypeError:  # No weak references, or no hash.
        known = set()
    if key in known:
        return
    with tf.init_scope():
        if tf.executing_eagerly():
            try:
                _build(rule, initial)
                _try(rule, initial)
            except tf.errors.OpError as error:
                shapes = [leaf.shape.as_list() for leaf in leaves]
                raise ValueError(
                    f"update: {type(rule).__name__} does not support parameters of shapes "
                    f"{shapes}: {error.message} A rule with weights is built for one latent size."
                ) from error
            known.add(key)


def _build(rule, initial):
    if not isinstance(rule, keras.layers.Layer) or rule.built:
        return
    if not all(leaf.shape[1:].is_fully_defined() for leaf in tf.nest.flatten(initial)):
        shapes = [leaf.shape.as_list() for leaf in tf.nest.flatten(initial)]
        raise ValueError(
            f"update: {type(rule).__name__} expected parameters of known sizes to create its "
            f"weights, got shapes {shapes}. Call its build method first."
        )
    if not private_keras.is_default_build(rule):
        rule.build(tf.nest.map_structure(lambda p: tuple(p.shape), initial))
    # Its inner layers create their weights when called: do so outside of any graph and scope.
    parameters = _random(initial, np.random.default_rng(0))
    state = rule.init(parameters)
    step = [tf.constant(0)] if BoundRule(rule, initial).takes_step else []
    rule.update(parameters, state, parameters, *step)
    rule.built = True


def _try(rule, initial):
    bound = BoundRule(rule, initial)
    weights = [_stand_in(weight) for weight in bound.weights]
    draw = np.random.default_rng(0)
    parameters, gradient = _random(initial, draw), _random(initial, draw)
    results = _two_steps(bound, weights, parameters, gradient)
    others = [
        tf.nest.map_structure(lambda t: tf.concat([t[:1] + 1.0, t[1:]], 0), nest)
        for nest in (parameters, gradient)
    ]
    for name, before, after in zip(
        ("parameters", "state"), results, _two_steps(bound, weights, *others), strict=True
    ):
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            if not np.allclose(left[1:], right[1:], rtol=1e-5, atol=1e-7, equal_nan=True):
                raise ValueError(
                    f"update: {type(rule).__name__} mixes examples: changing the gradient of one "
                    f"row changes {name} (leaf {index}) of other rows. Expected each row [b, ...] "
                    "to depend only on the same row of gradient, state and parameters."
                )


def _two_steps(bound, weights, parameters, gradient):
    """Returns (parameters, state) after two steps, as NumPy; raises if shapes or dtypes change."""
    parameters, gradient = tf.nest.flatten(parameters), tf.nest.flatten(gradient)
    first = state = bound.init(weights, parameters)
    _check_state(bound.name, state, parameters[0].dtype)
    for step in range(2):
        moved, following = bound.update(weights, gradient, state, parameters, step)
        _check_like(bound.name, "parameters", moved, parameters)
        _check_like(bound.name, "state", following, first)
        parameters, state = moved, following
    return [t.numpy() for t in parameters], [t.numpy() for t in state]


def _check_state(name, state, dtype):
    for index, leaf in enumerate(state):
        if not leaf.dtype.is_floating or leaf.shape[:1].as_list() != [_ROWS]:
            raise ValueError(
                f"update: {name}.init: expected a state of {dtype.name} tensors [B, ...] for B = "
                f"{_ROWS} examples, got {leaf.dtype.name} {leaf.shape.as_list()} (leaf {index})."
            )


def _check_like(name, what, got, expected):
    shapes = [[(t.dtype.name, t.shape.as_list()) for t in part] for part in (got, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"update: {name}.update: expected {what} with the structure of its input, {shapes[1]}, "
            f"got {shapes[0]}."
        )


def _random(nest, draw):
    def random(leaf):
        shape = [_ROWS, *(2 if n is None else n for n in leaf.shape[1:])]
        return tf.constant(0.5 * draw.normal(size=shape), leaf.dtype)

    return tf.nest.map_structure(random, nest)


def _stand_in(weight):
    """Returns the weight, or, if it is symbolic, a tensor of its shape filled with 0.1."""
    if hasattr(weight, "numpy"):
        return weight
    return tf.fill([1 if n is None else n for n in weight.shape], tf.constant(0.1, weight.dtype))
