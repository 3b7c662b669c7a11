"""Every public name says what it is, and every example in the package runs."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import tf_savae
from tf_savae.models.compilation import jit

MODULES = sorted(
    ["tf_savae"] + [m.name for m in pkgutil.walk_packages(tf_savae.__path__, "tf_savae.")]
)
PACKAGES = [
    "tf_savae",
    *sorted(f"tf_savae.{m.name}" for m in pkgutil.iter_modules(tf_savae.__path__) if m.ispkg),
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _documentable(name):
    """Yields (qualified name, function or class) for a package's public names."""
    package = importlib.import_module(name)
    for public in package.__all__:
        value = getattr(package, public)
        if inspect.isclass(value) or callable(value):
            yield f"{name}.{public}", value


def _own_docstring(value):
    """The docstring somebody wrote: not the one a NamedTuple or a dataclass makes up."""
    text = value.__doc__ or ""
    made_up = inspect.isclass(value) and text.startswith(f"{value.__name__}(")
    return "" if made_up else text.strip()


# Keras calls these, users do not; what they do is Keras' contract.
KERAS_HOOKS = {"build", "call", "compute_output_spec"}


def _own_methods(cls):
    public = {n: m for n, m in vars(cls).items() if not n.startswith("_")}
    public = {n: m for n, m in public.items() if n not in KERAS_HOOKS}
    return [getattr(cls, n) for n, m in public.items() if inspect.isroutine(m)]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_list_their_public_names(package):
    module = importlib.import_module(package)
    assert module.__doc__ and module.__all__
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing, f"{package}.__all__ lists {missing}, which it does not have"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_docstrings(package):
    bare = [name for name, value in _documentable(package) if not _own_docstring(value)]
    assert not bare, f"no docstring: {bare}"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_methods_have_docstrings(package):
    classes = [value for _, value in _documentable(package) if inspect.isclass(value)]
    methods = [method for cls in classes for method in _own_methods(cls)]
    bare = [method.__qualname__ for method in methods if not inspect.getdoc(method)]
    assert not bare, f"no docstring: {bare}"


def test_top_level_names_have_examples():
    texts = {name: _own_docstring(value) for name, value in _documentable("tf_savae")}
    bare = [name for name, text in texts.items() if ">>> " not in text]
    assert not bare, f"no example in the docstring of {bare}"


@pytest.fixture
def no_xla(monkeypatch):
    """jit_compile="auto" chooses graphs: compiling takes seconds, and shows nothing here."""
    monkeypatch.setattr(jit, "_choose", lambda inner, blocking: (False, "of a fixture"))


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, no_xla):
    """Runs each example, and sees to it that none is missed: doctest skips what is wrapped."""
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report = []
    tests = doctest.DocTestFinder(exclude_empty=True).find(loaded, module)
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
    source = Path(loaded.__file__).read_text(encoding="utf-8")
    written = len(re.findall(r"^\s*>>> ", source, re.MULTILINE))
    assert sum(len(test.examples) for test in tests) == written, "doctest missed some of them"
