"""Layers, cycles and sizes: each module imports only from layers below its own, and stays small."""

import ast
import collections
import graphlib
import sys
from pathlib import Path

import import_graph
import pytest

PROJECT = Path(__file__).resolve().parents[2]
FILES = import_graph.module_files(import_graph.package_folder())
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
GRAPH = import_graph.graph(SOURCES)
SCRIPTS = sorted((PROJECT / "bin").glob("*.py"))
FOLDERS = [PROJECT / name for name in ("bin", "benchmarks", "tests")]
OTHERS = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
ALL_FILES = {**FILES, **{str(path.relative_to(PROJECT)): path for path in OTHERS}}
LONGEST_FUNCTION, LONGEST_FILE, LARGEST_FOLDER = 60, 400, 16


def test_every_module_has_a_layer():
    unknown = [name for name in GRAPH if "." in name and import_graph.part(name) not in _layers()]
    assert not unknown, f"no layer for {unknown}: put them under one of {sorted(_layers())}"


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_imports_only_from_below(module):
    wrong = [name for name in sorted(GRAPH[module]) if not import_graph.may_import(module, name)]
    assert not wrong, f"{module} (layer {_layers().get(import_graph.part(module))}) imports {wrong}"


def test_no_module_cycles():
    try:
        graphlib.TopologicalSorter(GRAPH).prepare()
    except graphlib.CycleError as error:
        pytest.fail("import cycle: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(ALL_FILES))
def test_files_and_functions_stay_short(name):
    source = ALL_FILES[name].read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    long = {f: lines for f, lines in _function_lines(source) if lines > LONGEST_FUNCTION}
    assert not long, f"{name}: functions over {LONGEST_FUNCTION} lines: {long}"


OBJECTIVES = ("vae", "vae_svi", "vae_svi_exact", "vae_svi_kl")


def test_noise_streams_are_registered():
    """The number that a seed is folded with is counted, 0, or one of core/noise_streams.py."""
    wrong = {module: found for module, source in SOURCES.items() if (found := _own_streams(source))}
    assert not wrong, f"streams to be put into core/noise_streams.py: {wrong}"
    source = "_OWN = 3\nseeds.fold(s, _OWN)\nfold(s, 7)\nfold(s, step)\nfold(s, 0)\nfold(s, A.B)"
    assert _own_streams(source) == ["_OWN", "7"]


def _own_streams(source):
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = [c.args[1] for c in calls if ast.unparse(c.func).split(".")[-1] == "fold"]
    streams = [ast.unparse(node) for node in found if isinstance(node, (ast.Name, ast.Constant))]
    return [name for name in streams if name != "0" and not name.islower()]


def test_folders_stay_small():
    sizes = {str(folder): len(names) for folder, names in _folders().items()}
    large = {folder: size for folder, size in sizes.items() if size > LARGEST_FOLDER}
    assert not large, f"folders of more than {LARGEST_FOLDER} modules: {large}"


def test_no_families_of_files_by_prefix():
    """None of three modules in the package or benchmarks/ share the first word of their names."""
    families = {}
    for folder, names in _folders().items():
        if folder.parts[:1] == ("tests",) or folder.name == "bin":
            continue  # Scripts are named after their commands, tests after what they test.
        words = collections.Counter(name.split("_")[0] for name in names)
        families |= {(str(folder), word): n for word, n in words.items() if n >= 3}
    assert not families, f"families of files by prefix, which want a folder: {families}"


def _folders():
    """The modules' names by folder, without __init__ and those that are named after objectives."""
    folders = collections.defaultdict(list)
    for path in [*FILES.values(), *OTHERS]:
        if path.stem not in ("__init__", *OBJECTIVES):
            inside = path.is_relative_to(PROJECT)
            folders[path.parent.relative_to(PROJECT) if inside else path.parent].append(path.stem)
    return folders


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_only_call_the_upper_layers(script):
    wrong = [name for name in import_graph.imports(script.read_text("utf-8")) if not _fit(name)]
    assert not wrong, f"{script.name} imports {wrong}: flags in, one call, no more"


def test_there_are_scripts():
    assert {"train_oracle.py", "train_text.py"} <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("tf_savae.svi.a", "tf_savae.core.b", True),
        ("tf_savae.svi.a", "tf_savae.svi.b", True),
        ("tf_savae.svi.a", "tf_savae.models.b", False),
        ("tf_savae.svi.a", "tf_savae", False),
        ("tf_savae.data.a", "tf_savae.core.b", True),
        ("tf_savae.data.a", "tf_savae.probability.b", False),
        ("tf_savae.networks.a", "tf_savae.data.b", False),
        ("tf_savae.evaluation.a", "tf_savae.evaluation.b", True),
        ("tf_savae.evaluation", "tf_savae.evaluation.b", True),
        ("tf_savae.serving.a", "tf_savae.serving.b", True),
        ("tf_savae.evaluation.a", "tf_savae.serving.b", False),
        ("tf_savae.serving.a", "tf_savae.evaluation.b", False),
        ("tf_savae.analysis.a", "tf_savae.evaluation.b", True),
        ("tf_savae.training.a", "tf_savae.evaluation.b", True),
        ("tf_savae", "tf_savae.training", True),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert import_graph.may_import(importer, imported) is allowed


def test_the_graph_sees_every_way_to_import():
    sources = {
        "tf_savae": "",
        "tf_savae.svi": "from tf_savae.svi import a",
        "tf_savae.svi.a": "def f():\n    from tf_savae.core.seeds import fold",
        "tf_savae.svi.b": "from . import a\nfrom ..core import seeds, register\nimport keras",
        "tf_savae.core": "",
        "tf_savae.core.seeds": "import tf_savae.svi.b as b",
    }
    assert import_graph.graph(sources) == {
        "tf_savae": set(),
        "tf_savae.svi": {"tf_savae.svi.a"},
        "tf_savae.svi.a": {"tf_savae.core.seeds"},
        "tf_savae.svi.b": {"tf_savae.svi.a", "tf_savae.core.seeds", "tf_savae.core"},
        "tf_savae.core": set(),
        "tf_savae.core.seeds": {"tf_savae.svi.b"},
    }


def test_a_docstring_is_no_part_of_a_function_length():
    assert dict(_function_lines('def f():\n    """One.\n\n    Two."""\n    return 1\n')) == {"f": 2}


def _layers():
    return import_graph.LAYERS


def _fit(name):
    """Whether a script may import a dotted name: absl, the standard library, the upper layers."""
    root = name.split(".")[0]
    if root == import_graph.ROOT:
        return _layers().get(import_graph.part(name), 0) >= _layers()["evaluation"]
    return root == "absl" or root in sys.stdlib_module_names


def _function_lines(source):
    """Yields (name, number of lines without the docstring) of every function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            docstring = first.end_lineno - first.lineno + 1 if documented else 0
            yield node.name, node.end_lineno - node.lineno + 1 - docstring
