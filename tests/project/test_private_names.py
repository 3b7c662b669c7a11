"""No package of the library uses what another one, or Keras or TensorFlow, keeps private."""

import ast

import import_graph
import pytest

SOURCES = {
    name: path.read_text(encoding="utf-8")
    for name, path in import_graph.module_files(import_graph.package_folder()).items()
}
OF_NAMEDTUPLES = {"_asdict", "_fields", "_replace"}
# What is used of theirs without being public stands there: tests/core/test_private_names.py.
OF_KERAS_AND_TENSORFLOW = ("tf_savae.core.private_keras", "tf_savae.core.private_tensorflow")


def test_private_names_stay_in_their_package():
    own = {}
    for module, source in SOURCES.items():
        own.setdefault(import_graph.part(module), set()).update(_defined(source))
    found = {}
    for module, source in SOURCES.items():
        if module in OF_KERAS_AND_TENSORFLOW:
            continue
        known = own[import_graph.part(module)] | OF_NAMEDTUPLES
        foreign = [name for name in _used(source) if name not in known]
        if foreign:
            found[module] = foreign
    assert not found


@pytest.mark.parametrize(
    ("source", "used", "defined"),
    [
        ("model._hvp", ["_hvp"], []),
        ("run.model._spec[0]", ["_spec"], []),
        ("getattr(model, '_hvp', None)", ["_hvp"], []),
        ("from a import _b, c", ["_b"], []),
        ("self._a = cls._b", [], ["_a"]),
        ("super()._settings()", [], []),
        ("x.__dict__", [], []),
        ("x.__dict__['_seen'] = 1", [], ["_seen"]),
        ("d.update(_spec=1)", [], ["_spec"]),
        (
            "class A:\n    _a = 1\n    _b: int = 2\n    def _c(self):\n        pass",
            [],
            ["_a", "_b", "_c"],
        ),
    ],
)
def test_the_search_itself(source, used, defined):
    assert list(_used(source)) == used
    assert sorted(_defined(source)) == defined


def _is_private(name):
    return isinstance(name, str) and name[:1] == "_" and name[:2] != "__" and name.isidentifier()


def _used(source):
    """Yields private names that a source takes from objects other than self, and from modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_own(node.value):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if _is_private(alias.name))
        elif isinstance(node, ast.Call) and _name(node.func) in ("getattr", "hasattr", "setattr"):
            values = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
            yield from filter(_is_private, values)


def _is_own(node):
    call = isinstance(node, ast.Call)
    return _name(node) in ("self", "cls") or (call and _name(node.func) == "super")


def _name(node):
    return node.id if isinstance(node, ast.Name) else None


def _defined(source):
    """The private names that a source gives to attributes, methods, functions and entries."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if _is_own(node.value) else set()
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.add(getattr(node.slice, "value", None))
        elif isinstance(node, ast.keyword):
            found.add(node.arg)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setdefault":
            found.add(getattr(node.args[0], "value", None))
    return {name for name in found if _is_private(name)}
