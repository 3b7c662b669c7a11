"""The public names, their parameters and their defaults: what scripts of others rely on."""

import importlib
import inspect
import pkgutil
import re
import sys
from importlib import metadata
from pathlib import Path

import import_graph
import keras
import pytest

import tf_savae
import tf_savae.networks
import tf_savae.objectives
import tf_savae.svi

PACKAGES = """tf_savae tf_savae.analysis tf_savae.autodiff tf_savae.commands tf_savae.data
    tf_savae.evaluation tf_savae.generation tf_savae.models tf_savae.networks tf_savae.objectives
    tf_savae.ops tf_savae.plots tf_savae.presets tf_savae.probability tf_savae.samplers
    tf_savae.serving tf_savae.svi tf_savae.tasks tf_savae.training""".split()
MODULES = sorted(import_graph.module_files(import_graph.package_folder()))
EMPTY = inspect.Parameter.empty
CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"

# name -> (parameters by position, other parameters, defaults that are promised)
CONTRACT = {
    "svi.refine": (
        "negative_elbo initial theta",
        "steps step_size momentum clip_norm adjoint_clip_norm seed adjoint truncate hvp "
        "return_trace",
        {"momentum": 0.5, "clip_norm": None, "adjoint": "exact", "return_trace": False},
    ),
    "svi.Exact": (
        "hvp residuals clip_norm budget",
        "",
        {"hvp": "auto", "residuals": "auto", "clip_norm": None, "budget": None},
    ),
    "svi.Truncated": (
        "depth hvp residuals clip_norm budget",
        "",
        {"hvp": "auto", "residuals": "auto", "clip_norm": None, "budget": None},
    ),
    "SemiAmortizedRefinement": (
        "",
        "steps step_size momentum clip_norm adjoint_clip_norm adjoint hvp",
        {"steps": 20, "momentum": 0.5, "clip_norm": 5.0, "adjoint": "exact"},
    ),
    "SemiAmortizedVAE": (
        "encoder decoder",
        "refinement objective family prior beta",
        {"objective": "savae"},
    ),
    "SemiAmortizedVAE.infer": ("model x", "steps seed", {"steps": None, "seed": None}),
    "SemiAmortizedVAE.negative_elbo": ("model x", "steps seed", {"steps": None, "seed": None}),
    "SemiAmortizedVAE.log_likelihood": ("model x", "samples", {"samples": 500}),
    "SemiAmortizedVAE.generate": ("model n", "seed", {"seed": None}),
    "SemiAmortizedVAE.reconstruct": ("model x", "seed", {"seed": None}),
    "networks.Decoder.log_prob": ("self x z", "seed training", {}),
    "networks.Decoder.sample": ("self z", "seed", {}),
}
KEYWORD_ONLY = {
    "svi.refine": "steps step_size momentum clip_norm seed adjoint hvp return_trace",
    "SemiAmortizedVAE": "refinement objective family prior beta",
}
OBJECTIVES = ["autoregressive", "savae", "svi", "vae", "vae_svi", "vae_svi_exact", "vae_svi_kl"]


def _parameters(name):
    value = tf_savae
    for attribute in name.split("."):
        value = getattr(value, attribute)
    return inspect.signature(value).parameters


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_parameters(name):
    positional, named, defaults = CONTRACT[name]
    parameters = _parameters(name)
    assert list(parameters)[: len(positional.split())] == positional.split()
    missing = set(named.split()) - set(parameters)
    assert not missing, f"tf_savae.{name} lacks {sorted(missing)}"
    assert {key: parameters[key].default for key in defaults} == defaults


@pytest.mark.parametrize("name", sorted(KEYWORD_ONLY))
def test_keyword_only_parameters(name):
    parameters = _parameters(name)
    kinds = {key: parameters[key].kind for key in KEYWORD_ONLY[name].split()}
    assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}, kinds


@pytest.mark.parametrize("name", ["svi.refine", "SemiAmortizedRefinement", "SemiAmortizedVAE"])
def test_required_parameters_are_few(name):
    """A caller has to say only what nothing sensible can be assumed for."""
    named = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = [p for p in _parameters(name).values() if p.kind not in named]
    required = {p.name for p in parameters if p.default is EMPTY}
    allowed = {
        "svi.refine": {"negative_elbo", "initial", "theta", "steps", "step_size", "seed"},
        "SemiAmortizedRefinement": {"step_size"},
        "SemiAmortizedVAE": {"encoder", "decoder", "refinement"},
    }[name]
    assert required <= allowed


def test_keras_kinds():
    assert issubclass(tf_savae.SemiAmortizedRefinement, keras.layers.Layer)
    assert issubclass(tf_savae.SemiAmortizedVAE, keras.Model)
    assert issubclass(tf_savae.AutoregressiveModel, keras.Model)


@pytest.mark.parametrize("name", ["SemiAmortizedRefinement", "SemiAmortizedVAE"])
def test_classes_are_registered_for_keras_files(name):
    assert keras.saving.get_registered_name(getattr(tf_savae, name)) == f"tf_savae>{name}"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_module_per_objective(objective):
    assert importlib.import_module(f"tf_savae.objectives.{objective}").__doc__


@pytest.mark.parametrize("name", ["SemiAmortizedRefinement", "SemiAmortizedVAE", "svi", "networks"])
def test_listed_at_the_top(name):
    assert name in tf_savae.__all__


def test_version_is_told_once():
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", CHANGELOG.read_text("utf-8"), re.MULTILINE)[1]
    assert tf_savae.__version__ == newest
    try:
        installed = metadata.version("tf_savae")
    except metadata.PackageNotFoundError:
        pytest.skip("tf_savae runs from its sources, not installed: no metadata to compare with")
    assert installed == newest


@pytest.mark.parametrize("package", [*PACKAGES, "tf_savae.core"])
def test_public_functions_and_methods_are_annotated(package):
    """Of the package and of its modules: what they list in `__all__`."""
    missing = {}
    for path in MODULES:
        if path != package and (package == "tf_savae" or not path.startswith(f"{package}.")):
            continue
        module = importlib.import_module(path)
        names = getattr(module, "__all__", ())
        functions = [pair for name in names for pair in _functions(getattr(module, name))]
        missing |= {f"{path}: {n}": gaps for n, each in functions if (gaps := _unannotated(each))}
    assert not missing, f"parameters (or the return) without a type: {missing}"


def test_every_package_is_looked_at():
    folder = Path(tf_savae.__file__).parent
    found = {f"tf_savae.{path.parent.name}" for path in folder.glob("*/__init__.py")}
    assert {"tf_savae", *found - {"tf_savae.core"}} == set(PACKAGES)


def test_no_public_name_hides_a_module():
    """`package.name` is either what the package exports or its module of that name, not both."""
    assert _hidden_modules(tf_savae) == []


def test_the_look_for_hidden_modules_itself(tmp_path, monkeypatch):
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "hidden.py").write_text("def hidden(): ...\n")
    (folder / "seen.py").write_text("def other(): ...\n")
    (folder / "__init__.py").write_text(
        "from example import seen\nfrom example.hidden import hidden\n__all__ = ['hidden', 'seen']"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert _hidden_modules(importlib.import_module("example")) == ["example.hidden"]


def test_the_look_for_annotations_itself():
    def partly(self, x: int, y, *rest, **options): ...

    def wholly(self, x: int, *rest, **options) -> None: ...

    assert (_unannotated(partly), _unannotated(wholly)) == (["y", "return"], [])
    assert {"SemiAmortizedVAE.infer", "SemiAmortizedVAE.hvp", "SemiAmortizedVAE.from_config"} <= {
        name for name, _ in _functions(tf_savae.SemiAmortizedVAE)
    }


def test_type_checkers_are_told_of_the_annotations():
    assert (Path(tf_savae.__file__).parent / "py.typed").is_file()


def _hidden_modules(root):
    """Dotted names of the modules in `root` whose package has something else by their name."""
    found = pkgutil.walk_packages(root.__path__, f"{root.__name__}.")
    names = [info.name for info in found]
    hidden = []
    for name in names:
        package, _, last = name.rpartition(".")
        listed = importlib.import_module(package)
        if last not in {*vars(listed), *getattr(listed, "__all__", [])}:
            continue
        value = getattr(listed, last)
        # A package that imports late has the module by that name once anything imported it.
        takes_turns = last in getattr(listed, "__all__", []) and hasattr(value, last)
        if value is not sys.modules.get(name) or takes_turns:
            hidden.append(name)
    return hidden


def _functions(value):
    """Yields (name, function): `value`, or its __init__, __call__ and public methods.

    Methods that a class of the package inherits from another one of it are among them.
    """
    if inspect.isfunction(value):
        yield value.__qualname__, value
    if not inspect.isclass(value):
        return
    ours = [cls for cls in value.__mro__ if cls.__module__.split(".")[0] == "tf_savae"]
    for cls in ours:
        lines = inspect.getsource(cls)
        for name, attribute in vars(cls).items():
            if name.startswith("_") and name not in ("__init__", "__call__"):
                continue
            for function in _of_attribute(attribute):
                # Not what a decorator or NamedTuple made, nor an alias of another name.
                written = f"def {name}(" in lines or f" {name} = " in lines
                if written and function.__name__ == name:
                    yield f"{value.__name__}.{name}", function


def _of_attribute(attribute):
    if isinstance(attribute, property):
        return [part for part in (attribute.fget, attribute.fset) if part is not None]
    function = getattr(attribute, "__func__", attribute)  # Of a class or static method.
    return [inspect.unwrap(function)] if inspect.isfunction(function) else []


def _unannotated(function):
    """Names of the parameters, and "return", that have no annotation; *args may go without."""
    collected = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind not in collected]
    gaps = [p.name for p in named if p.annotation is EMPTY and p.name not in ("self", "cls")]
    return [*gaps, *(["return"] if signature.return_annotation is EMPTY else [])]
