"""The import graph of the package, read from its sources with ast: nothing is imported."""

import ast
import importlib.util
from pathlib import Path

ROOT = "tf_savae"
FLOORS = {
    "ground": 0,
    "probability": 1,
    "svi": 2,
    "networks": 3,
    "data": 3,
    "objectives": 4,
    "models": 5,
    "evaluation": 6,
    "generation": 6,
    "analysis": 6,
    "serving": 6,
    "training": 7,
}
# Packages of floor 6 whose modules make one tool together; those of the others stand apart.
ONE_TOOL = {"serving"}


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
    """The floor's package a module belongs to: "svi" for "tf_savae.svi.refine"."""
    return module.split(".")[1] if "." in module else ""


def may_import(importer, imported):
    """Whether the floors allow one module of the package to import another one."""
    above, below = part(importer), part(imported)
    if not above:
        return True  # the root re-exports from every floor
    if not below:
        return False  # and nobody imports the root
    if above == below:
        one_tool = FLOORS[above] != 6 or above in ONE_TOOL
        return one_tool or importer == f"{ROOT}.{above}"
    if above == "data":
        return FLOORS[below] == 0
    return FLOORS[below] < FLOORS[above]
