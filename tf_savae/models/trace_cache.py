"""Retrace compiled functions when a setting that they were traced with changes.

Settings are the public attributes of the model, its layers and its optimizer, including
`trainable`. TensorFlow reads such attributes only while it traces a function.
"""

import functools
import types

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import private_keras
from tf_savae.core.function_cache import FunctionCache
from tf_savae.core.progress import stages
from tf_savae.core.typing import MixedIn

__all__ = ["FollowInEpochs", "FollowsSettings", "compiled_for", "settings_of"]

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

    def on_epoch_begin(self, epoch, logs=None):
        self.model.make_train_function()


class FollowsSettings(MixedIn):
    """Mixin of `BoundModel` that detects changed settings before it uses a traced function."""

    def _follow_settings(self):
        """Drops functions traced with outdated settings; validates the current ones."""
        now, seen = self._settings_now(), self.__dict__.get("_seen")
        if seen == now:
            return
        if seen is not None and _PHASE in now and _but_phase(seen) == _but_phase(now):
            self._change_phase(seen[_PHASE], now[_PHASE])
            self.__dict__["_seen"] = now
            return
        self.__dict__.pop("_phases", None)
        self._settings_changed()
        self.__dict__["_seen"] = self._settings_now()  # Including attributes set by validation.
        self.train_function = self.test_function = self.predict_function = None
        self.__dict__.pop("_functions", None)

    def _change_phase(self, old, new):
        """Switches the traced functions from one K of a schedule to another."""
        phases = self.__dict__.setdefault("_phases", {})
        made = {name: getattr(self, name) for name in _TRACED}
        phases[old] = made, self._functions_kept()
        fresh = dict.fromkeys(_TRACED), FunctionCache()
        made, self.__dict__["_functions"] = phases.pop(new, fresh)
        for name, function in made.items():
            setattr(self, name, function)

    def _settings_now(self, owners=None):
        volatile = self.__dict__.get("_volatile", ())
        settings = settings_of(self, owners)
        return {key: value for key, value in settings.items() if key not in volatile}

    def _follow_own_settings(self):
        """As `_follow_settings`, only for the model and its refinement; called for every batch."""
        owners = [self, getattr(self, "refinement", None)]
        seen = self.__dict__.get("_seen", {})
        if any(seen.get(key) != value for key, value in self._settings_now(owners).items()):
            self._follow_settings()

    def _settings_changed(self):
        """Hook: raises ValueError for inconsistent settings, and updates derived attributes."""

    def _watched(self, function):
        """Wraps `function` to record, when traced, which settings its layers change themselves.

        Otherwise a layer that counts its calls in an attribute would be retraced at every call.
        """

        @functools.wraps(function, updated=())  # TensorFlow counts retracing by its code.
        def watched(*args, **kwargs):
            if tf.executing_eagerly():
                return function(*args, **kwargs)
            before = settings_of(self)
            answer = function(*args, **kwargs)
            after = settings_of(self)
            changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
            if changed:
                self.__dict__.setdefault("_volatile", set()).update(changed)
                seen = self.__dict__.get("_seen", {})
                self.__dict__["_seen"] = {k: v for k, v in seen.items() if k not in changed}
            return answer

        return watched

    def _compiled(self, key, function, xla=True):
        """Returns `function` as a tf.function, created once per key and settings of the model.

        Args:
          key, function: as for `FunctionCache.get`.
          xla: whether to compile it with XLA if the model is compiled with XLA.
        """
        self._follow_settings()
        xla = bool(xla and self.compiled and self.jit_compile is True)
        return self._functions_kept().get(key, self._watched(function), jit_compile=xla)

    def _functions_kept(self):
        return self.__dict__.setdefault("_functions", FunctionCache())

    # Keras' hooks: a callback may change a setting between two batches.

    def make_train_function(self, force: bool = False) -> None:
        self._make_following("train_function", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> None:
        self._make_following("test_function", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> None:
        self._follow_settings()
        super().make_predict_function(force)

    def _make_following(self, name, make, force):
        self._follow_settings()
        if getattr(self, name) is not None and not force:
            return
        make(force)
        made = getattr(self, name)

        def following(iterator):
            self._follow_own_settings()
            if getattr(self, name) is following:
                if following.called:
                    return made(iterator)
                following.called = True
                with self._compiling(name):
                    return made(iterator)
            self._make_following(name, make, False)
            return getattr(self, name)(iterator)

        following.called = False
        setattr(self, name, following)

    def _compiling(self, name):
        """Returns the stage of the first call of a function, which traces and compiles it."""
        steps, xla = getattr(self, "inference_steps", 0), self.jit_compile is True
        took = "up to a few minutes" if xla else "some seconds"
        how = ", ".join([f"K = {steps}"] * bool(steps) + ["XLA"] * xla)
        how = how and f" ({how})"
        what = "training" if name == "train_function" else "evaluation"
        announced = what == "training" or not stages.under_way()  # Not inside a progress bar.
        return stages.stage(f"Compiling the {what} step{how}: {took}", announced=announced)


def compiled_for(model, function, key=None):
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
    if key is not None and isinstance(model, FollowsSettings):
        # The key includes types: 5.0 and True equal 5 and 1.
        made = model._compiled(("compiled_for", *key, *map(type, key)), function)
    if isinstance(made, tf.types.experimental.PolymorphicFunction):
        return made
    jit = model.compiled and model.jit_compile is True
    return tf.function(made, jit_compile=jit, autograph=False)  # Nothing to cache it by.


def settings_of(model, owners=None):
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
