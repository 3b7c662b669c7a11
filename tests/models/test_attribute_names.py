"""Attributes of ours do not take names that Keras or TensorFlow use in the same object."""

import ast
import importlib
import inspect
import textwrap

import import_graph
import keras
import numpy as np
import pytest
from keras_models import data, dense_model

# Private methods of Keras that are overridden because of what they do there.
OVERRIDDEN = {"_assert_compile_called", "_make_function", "_maybe_symbolic_build"}
BASES = (keras.layers.Layer, keras.metrics.Metric, keras.callbacks.Callback, keras.utils.PyDataset)


def _classes():
    """Every class of the package that Keras or TensorFlow has a part in."""
    names = import_graph.module_files(import_graph.package_folder())
    found = {
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and issubclass(value, BASES) and _is_ours(value)
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def _is_ours(cls):
    return cls.__module__.split(".")[0] == import_graph.ROOT


def _names(cls):
    """Names that a class defines, and those that its methods set on their object."""
    names = set(vars(cls))
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return names  # Written in C.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names |= {node.attr} if getattr(node.value, "id", "") in ("self", "obj") else set()
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "self.__dict__":
            names.add(getattr(node.slice, "value", None))
    return names


def _clashes(cls, is_ours=_is_ours):
    private = {
        name
        for part in cls.__mro__
        if is_ours(part)
        for name in _names(part)
        if name and name.startswith("_") and not name.startswith("__")
    }
    theirs = {name for part in cls.__mro__ if not is_ours(part) for name in _names(part)}
    return {name for name in private & theirs if not name.startswith("_abc_")}


def test_no_private_name_is_taken_twice():
    classes = _classes()
    assert len(classes) > 20
    clashes = {cls.__name__: _clashes(cls) - OVERRIDDEN for cls in classes}
    assert not {name: found for name, found in clashes.items() if found}


def test_the_search_sees_a_clash():
    class Clashing(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self._tracker = self.__dict__["_losses"] = None

    assert _clashes(Clashing, lambda cls: cls is Clashing) == {"_tracker", "_losses"}


@pytest.mark.parametrize("value", [["a"], [keras.layers.Dense(2)], {"a": 1}])
def test_a_model_holds_lists_and_layers_of_the_user(value):
    model = dense_model("vae")
    model.tags = value
    assert model.tags == value
    model.compile(jit_compile=False)
    assert np.isfinite(model.fit(data(), verbose=0).history["loss"]).all()
