"""Retrace compiled functions when a setting that they were traced with changes.

Settings are the public attributes of the model, its layers and its optimizer, including
`trainable`. TensorFlow reads such attributes only while it traces a function.
"""

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import private_keras
from tf_savae.core.function_cache import FunctionCache
from tf_savae.core.progress import stages

__all__ = [
    "FollowInEpochs",
    "Traces",
    "compiled",
    "compiled_for",
    "follow",
    "keeps_traces",
    "make_following",
    "settings_of",
    "watched",
]

# {(object, attribute name): comparable value}, and {"K": K}.
Settings: TypeAlias = dict[Any, Any]
# Public attributes that are Keras' own state, or set by Keras' callbacks.
_NO_SETTINGS = {
    "build",
    "built",
    "call_signature_parameters",
    "compiled",
    "history",
    "inputs",
    "loss",
    "name",
    "outputs",
    "predict_function",
    "quantize",
    "stop_evaluating",
    "stop_predicting",
    "stop_training",
    "test_function",
    "train_function",
}
_TRACED = ("train_function", "test_function", "predict_function")
_PHASE = "K"  # The setting changed by a schedule of K.
_PLAIN = {bool, int, float, complex, str, bytes, type(None)}
_OPAQUE = {types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type}
# Layers are compared separately; no traced function depends on initializers.
_OWNERS = (keras.layers.Layer, keras.Variable, keras.KerasTensor, keras.initializers.Initializer)
_DEPTH = 2  # Depth of nested objects (a regularizer, a schedule) that is compared.
_SMALL = 4096  # Bytes; larger arrays are compared by identity.


class FollowInEpochs(keras.callbacks.Callback):
    """Applies settings changed by other callbacks, at the start of each epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.make_train_function()


class Traces:
    """A model's traced functions, and the settings that they were traced with.

    Keras keeps `train_function`, `test_function` and `predict_function` itself.
    """

    def __init__(self) -> None:
        self.functions = FunctionCache()
        # {(object, attribute name): value}, or None before the first trace.
        self.seen: Settings | None = None
        self.volatile: set = set()  # Settings that layers change themselves.
        # {K: functions of another K of a schedule}.
        self.phases: dict[int, tuple[dict, FunctionCache]] = {}

    def drop_functions(self) -> None:
        """Forgets the functions of all phases, as their settings are outdated."""
        self.functions = FunctionCache()
        self.phases.clear()

    def switch(self, model: Any, old: int, new: int) -> None:
        """Switches the traced functions from one K of a schedule to another."""
        made = {name: getattr(model, name) for name in _TRACED}
        self.phases[old] = made, self.functions
        fresh = dict.fromkeys(_TRACED), FunctionCache()
        made, self.functions = self.phases.pop(new, fresh)
        for name, function in made.items():
            setattr(model, name, function)

    def forget(self, changed: set) -> None:
        """Stops following settings that a layer has changed while it was traced."""
        self.volatile |= changed
        if self.seen is not None:
            self.seen = {k: v for k, v in self.seen.items() if k not in changed}

    def but_volatile(self, settings: Settings) -> Settings:
        """Returns the settings that are followed."""
        return {key: value for key, value in settings.items() if key not in self.volatile}


def follow(model: Any) -> None:
    """Drops functions traced with outdated settings; validates the current ones.

    Args:
      model: a `BoundModel`. Its `_settings_now` returns the settings, and `_settings_changed`
        raises ValueError if they are inconsistent and updates derived attributes.
    """
    traces = model._traces
    now, seen = traces.but_volatile(model._settings_now()), traces.seen
    if seen == now:
        return
    if seen is not None and _PHASE in now and _but_phase(seen) == _but_phase(now):
        traces.switch(model, seen[_PHASE], now[_PHASE])
        traces.seen = now
        return
    model._settings_changed()
    # Including attributes set by validation.
    traces.seen = traces.but_volatile(model._settings_now())
    model.train_function = model.test_function = model.predict_function = None
    traces.drop_functions()


def _follow_own(model):
    """As `follow`, only for the model and its refinement; called for every batch."""
    now = model._settings_now([model, getattr(model, "refinement", None)])
    seen = model._traces.seen or {}
    if any(seen.get(key) != value for key, value in model._traces.but_volatile(now).items()):
        follow(model)


def watched(model: Any, function: Callable) -> Callable:
    """Wraps `function` to record, when traced, which settings the model's layers change themselves.

    Otherwise a layer that counts its calls in an attribute would be retraced at every call.
    """

    @functools.wraps(function, updated=())  # TensorFlow counts retracing by its code.
    def watching(*args, **kwargs):
        if tf.executing_eagerly():
            return function(*args, **kwargs)
        before = settings_of(model)
        answer = function(*args, **kwargs)
        after = settings_of(model)
        changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
        if changed:
            model._traces.forget(changed)
        return answer

    return watching


def compiled(model: Any, key: tuple, function: Callable, xla: bool = True) -> Callable:
    """Returns `function` as a tf.function, created once per key and settings of the model.

    Args:
      model: a `BoundModel`.
      key, function: as for `FunctionCache.get`.
      xla: whether to compile it with XLA if the model is compiled with XLA.
    """
    follow(model)
    xla = bool(xla and model.compiled and model.jit_compile is True)
    return model._traces.functions.get(key, watched(model, function), jit_compile=xla)


def make_following(model: Any, name: str, make: Callable[[bool], None], force: bool) -> None:
    """Makes the function `name`, which follows settings: callbacks may change them at any batch.

    Args:
      model: a `BoundModel`.
      name: "train_function" or "test_function".
      make: Keras' function (force) that makes it.
      force: whether to make it again.
    """
    follow(model)
    if getattr(model, name) is not None and not force:
        return
    make(force)
    made = getattr(model, name)

    called = False

    def following(iterator):
        nonlocal called
        _follow_own(model)
        if getattr(model, name) is following:
            if called:
                return made(iterator)
            called = True
            with _compiling(model, name):
                return made(iterator)
        make_following(model, name, make, False)
        return getattr(model, name)(iterator)

    setattr(model, name, following)


def _compiling(model, name):
    """Returns the stage of the first call of a function, which traces and compiles it."""
    steps, xla = getattr(model, "inference_steps", 0), model.jit_compile is True
    took = "up to a few minutes" if xla else "some seconds"
    how = ", ".join([f"K = {steps}"] * bool(steps) + ["XLA"] * xla)
    how = how and f" ({how})"
    what = "training" if name == "train_function" else "evaluation"
    announced = what == "training" or not stages.under_way()  # Not inside a progress bar.
    return stages.stage(f"Compiling the {what} step{how}: {took}", announced=announced)


def keeps_traces(model: Any) -> bool:
    """Returns whether the model is a `BoundModel`, which caches compiled functions."""
    return isinstance(getattr(model, "_traces", None), Traces)


def compiled_for(
    model: Any, function: Callable, key: tuple | None = None
) -> tf.types.experimental.PolymorphicFunction:
    """Returns `function` as a tf.function, with XLA if the model was compiled with it.

    Args:
      model: a keras.Model.
      function: a function of tensors.
      key: tuple that identifies `function`, or None. With a key that can be hashed, a model of
        this package caches the compiled function until its settings change, so that a callback
        that evaluates after each epoch compiles once.

    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> compiled_for(model, lambda x: x + 1.0)(tf.zeros([2])).numpy().tolist()
    [1.0, 1.0]
    """
    made = function
    if key is not None and keeps_traces(model):
        # The key includes types: 5.0 and True equal 5 and 1.
        made = compiled(model, ("compiled_for", *key, *map(type, key)), function)
    if isinstance(made, tf.types.experimental.PolymorphicFunction):
        return made
    jit = model.compiled and model.jit_compile is True
    return tf.function(made, jit_compile=jit, autograph=False)  # Not cached without a key.


def settings_of(model: keras.layers.Layer, owners: Iterable | None = None) -> Settings:
    """Returns {(object, attribute name): comparable value}, to detect changes.

    Args:
      model: a keras.layers.Layer.
      owners: the objects to look at; by default the model, all its layers and its optimizer.

    >>> layer = keras.layers.Dropout(0.5)
    >>> before = settings_of(layer)
    >>> layer.rate = 0.1
    >>> [name for (_, name), value in settings_of(layer).items() if before[_, name] != value]
    ['rate']
    """
    if owners is None:
        owners = [*private_keras.flatten_layers(model), getattr(model, "optimizer", None)]
    same = [_Same(owner) for owner in owners if owner is not None]
    return {(s, name): _key(value, _DEPTH) for s in same for name, value in _attributes(s.thing)}


def _attributes(owner):
    for name, value in vars(owner).items():
        if name in private_keras.SETTINGS if name[:1] == "_" else name not in _NO_SETTINGS:
            yield name, value


def _but_phase(settings):
    return {key: value for key, value in settings.items() if key != _PHASE}


class _Same:
    """Compares by identity, and holds a reference so that the id is not reused."""

    __slots__ = ("thing",)

    def __init__(self, thing):
        self.thing = thing

    def __eq__(self, other):
        return isinstance(other, _Same) and self.thing is other.thing

    def __hash__(self):
        return id(self.thing)


def _key(value, depth):
    """Returns a key that compares equal as long as `value` is the same setting."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind in _OPAQUE or isinstance(value, _OWNERS):
        return _Same(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.nbytes <= _SMALL:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return kind, [_key(part, depth) for part in value]
    if isinstance(value, dict):
        return kind, [(repr(name), _key(part, depth)) for name, part in value.items()]
    if not depth or not hasattr(value, "__dict__") or tf.is_tensor(value):
        return _Same(value)
    return _Same(value), [(name, _key(part, depth - 1)) for name, part in _attributes(value)]
