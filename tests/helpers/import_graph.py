"""The import graph of the package, read from its sources with ast: nothing is imported."""

import ast
import importlib.util
from pathlib import Path

ROOT = "tf_savae"
LAYERS = {
    "core": 0,
    "autodiff": 1,
    "probability": 1,
    "svi": 2,
    "ops": 3,
    "samplers": 4,
    "networks": 5,
    "data": 5,
    "objectives": 6,
    "models": 7,
    "evaluation": 8,
    "generation": 9,
    "analysis": 9,
    "serving": 9,
    "plots": 10,
    "presets": 10,
    "training": 11,
    "tasks": 12,
    "commands": 13,
}
# Packages that do not know each other, although their layers would let them.
APART = {"generation": "evaluation", "serving": "evaluation"}


def package_folder():
    """The folder of the tf_savae that `import tf_savae` would take."""
    return Path(importlib.util.find_spec(ROOT).origin).parent


def module_files(folder):
    """Returns {dotted module name: file} for a package's folder."""
    files = {}
    for path in sorted(folder.rglob("*.py")):
        parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(source, package=""):
    """Yields the dotted names a source imports, anywhere in it; relative ones made absolute.

    `from a import b` yields "a.b": the caller knows whether b is a module or a name in a.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def graph(sources):
    """Returns {module: set of the package's modules it imports} for {module: source}.

    A module is a package when another one's name begins with its own.
    """
    edges = {}
    for name, source in sources.items():
        is_package = any(other.startswith(name + ".") for other in sources) or "." not in name
        package = name if is_package else name.rpartition(".")[0]
        own = (target for target in imports(source, package) if target.split(".")[0] == ROOT)
        edges[name] = {_module(target, sources) for target in own} - {name}
    return edges


def _module(target, sources):
    """The longest known module that a dotted name goes through."""
    while target not in sources and "." in target:
        target = target.rpartition(".")[0]
    return target


def part(module):
    """The layer's package a module belongs to: "svi" for "tf_savae.svi.refinement"."""
    return module.split(".")[1] if "." in module else ""


def may_import(importer, imported):
    """Whether the layers allow one module of the package to import another one."""
    above, below = part(importer), part(imported)
    if not above:
        return True  # the root re-exports from every layer
    if not below:
        return False  # and nobody imports the root
    if above == below:
        return True
    if above == "data":
        return LAYERS[below] == 0
    if APART.get(above) == below:
        return False
    return LAYERS[below] < LAYERS[above]
