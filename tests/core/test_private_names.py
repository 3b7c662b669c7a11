"""What is used of Keras and TensorFlow without being public: there, and used in one place alone.

A name that an update of either has removed or renamed is told here, before anything fails by it.
"""

import ast
import functools
import importlib
import inspect

import import_graph
import keras
import pytest
import tensorflow as tf

from tf_savae.core import private_keras, private_tensorflow

CHECKED = {"keras": "3.15.1", "tensorflow": "2.21.0"}
INSTALLED = {"keras": keras.__version__, "tensorflow": tf.__version__}
FILES = import_graph.module_files(import_graph.package_folder())
PRIVATE = {f"tf_savae.core.private_{library}" for library in CHECKED}
ROOTS = ("keras.src", "tensorflow.python", "tensorflow.compiler", "tensorflow.core")


@functools.cache
def _model():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    return model


def _optimizer():
    return _model().optimizer


def _trainer():
    return keras.Model  # Its class alone has what models override.


def _accumulator():
    return tf.autodiff.ForwardAccumulator([tf.zeros([1])], [tf.zeros([1])])


def _dataset():
    return tf.data.Dataset.range(1)


# Modules by their name, attributes by an object that has them.
MODULES = [
    "keras.src.backend.common.global_state.set_global_attribute",
    "keras.src.backend.common.variables.get_autocast_scope",
    "keras.src.trainers.data_adapters.array_data_adapter.ArrayDataAdapter",
    "keras.src.trainers.data_adapters.array_data_adapter.can_convert_arrays",
    "keras.src.trainers.data_adapters.array_slicing.train_validation_split",
    "tensorflow.compiler.tf2xla.ops.gen_xla_ops.xla_dynamic_update_slice",
    "tensorflow.python.client.device_lib.list_local_devices",
    "tensorflow.python.eager.execute.record_gradient",
    "tensorflow.python.eager.forwardprop._jvp_dispatch",
    "tensorflow.python.eager.forwardprop._jvp_helper",
    "tensorflow.python.eager.forwardprop_util.push_forwardprop_state",
    "tensorflow.python.ops.control_flow_util.GraphOrParentsInXlaContext",
    "tensorflow.python.pywrap_tfe.TFE_Py_RegisterJVPFunction",
]
ATTRIBUTES = {
    "_all_reduce_sum_gradients": _optimizer,
    "_assert_compile_called": _trainer,
    "_build_shapes_dict": _model,
    "_distribute_strategy": _model,
    "_distribution_strategy": _optimizer,
    "_dtype_policy": _model,
    "_flatten_layers": _model,
    "_functions": _dataset,
    "_get_regularization_losses": _model,
    "_inputs": _dataset,
    "_is_default": lambda: keras.layers.Layer.build,
    "_iterations": _optimizer,
    "_jit_compile": _model,
    "_learning_rate": _optimizer,
    "_make_function": _trainer,
    "_maybe_symbolic_build": _trainer,
    "_run_eagerly": _model,
    "_trainable": _model,
    "_trainable_variables": _optimizer,
    "_watch": _accumulator,
}
ARGUMENTS = {"_use_cached_eval_dataset": keras.Model.evaluate}  # Read from its **kwargs.


def _broken(library, name):
    return (
        f"{name} is not in {library} {INSTALLED[library]}: it was there in {CHECKED[library]}, "
        f"with which tf_savae/core/private_{library}.py was checked last"
    )


@pytest.mark.parametrize("name", MODULES)
def test_private_functions_exist(name):
    library = name.partition(".")[0]
    module, _, function = name.rpartition(".")
    try:
        found = importlib.import_module(module)
    except ImportError:
        found = None
    assert callable(getattr(found, function, None)), _broken(library, name)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_private_attributes_exist(name):
    owner = ATTRIBUTES[name]()
    library = "tensorflow" if ATTRIBUTES[name] in (_accumulator, _dataset) else "keras"
    assert hasattr(owner, name), _broken(library, f"{name} of {owner}")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_private_arguments_exist(name):
    source = inspect.getsource(inspect.unwrap(ARGUMENTS[name]))
    assert f'"{name}"' in source, _broken("keras", f"{name} of {ARGUMENTS[name]}")


def test_a_name_that_is_gone_is_told_with_the_versions():
    assert _broken("keras", "_gone of a layer") == (
        f"_gone of a layer is not in keras {keras.__version__}: it was there in 3.15.1, with which "
        "tf_savae/core/private_keras.py was checked last"
    )


def test_all_that_the_two_modules_use_is_looked_for():
    used = set(private_keras.HOOKS) | set(private_keras.SETTINGS)
    imported = set()
    for name in PRIVATE:
        tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
        used |= _private_attributes(tree)
        imported |= {n for n in import_graph.imports(ast.unparse(tree)) if n.startswith(ROOTS)}
        strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
        used |= {s for s in strings if isinstance(s, str) and s[:1] == "_" and s.isidentifier()}
    known = {name.rpartition(".")[2] for name in MODULES} | {*ATTRIBUTES, *ARGUMENTS}
    assert used <= known, f"not looked for here: {sorted(used - known)}"
    modules = {name.rpartition(".")[0] for name in MODULES} | set(MODULES)
    assert imported <= modules, f"not looked for here: {sorted(imported - modules)}"


@pytest.mark.parametrize("library", CHECKED)
def test_each_says_what_it_is_and_with_which_version(library):
    module = {"keras": private_keras, "tensorflow": private_tensorflow}[library]
    assert f"Checked with {'Keras ' * (library == 'keras')}{CHECKED[library]}" in module.__doc__
    for name in module.__all__:
        if callable(getattr(module, name)):
            assert CHECKED[library] in getattr(module, name).__doc__, name


def test_nobody_else_uses_them():
    own = set(ATTRIBUTES) - set(private_keras.HOOKS)
    offenders = []
    for module, path in FILES.items():
        source = path.read_text(encoding="utf-8")
        if module in PRIVATE:
            continue
        found = [name for name in import_graph.imports(source) if name.startswith(ROOTS)]
        found += [root for root in ROOTS if root in source and not found]
        found += sorted(_private_attributes(ast.parse(source)) & own)
        found += [name for name in ARGUMENTS if name in source]
        offenders += [f"{module}: {name}" for name in found]
    assert not offenders, "to be taken from core/private_keras.py or private_tensorflow.py"


def test_and_would_be_found():
    source = "import keras\nx._flatten_layers()\ngetattr(x, '_iterations')\nself._own\nself._inputs"
    source += "\ndef _watch(self):\n    self._watch()"
    assert _private_attributes(ast.parse(source)) == {"_flatten_layers", "_inputs", "_iterations"}


def _private_attributes(tree):
    """Names with an underscore that are read of another object, or of self but not its own."""
    found, own = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            found |= {node.attr} if not of_self or node.attr in ATTRIBUTES else set()
        if isinstance(node, ast.FunctionDef):
            own.add(node.name)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
            name = node.args[1]
            found |= {name.value} if isinstance(name, ast.Constant) else set()
    return {name for name in found - own if name[:1] == "_" and name[:2] != "__"}
