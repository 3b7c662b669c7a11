"""The project's own text: no machine's paths, and commands that are the ones that are run."""

from pathlib import Path

import import_graph
import pytest

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = [PROJECT / name for name in (".ci", "bin", "benchmarks", "docs", "tests")]
FOLDERS.append(import_graph.package_folder())
SUFFIXES = {".py", ".md", ".toml", ".json", ".in", ""}
# Written in two halves, or this file would be its own offender.
FORBIDDEN = ["/" + "work/", "/" + "home/", "/" + "root/", "files.python" + "hosted"]


def _texts():
    inside = [path for folder in FOLDERS for path in folder.rglob("*") if path.is_file()]
    top = [path for path in PROJECT.iterdir() if path.is_file()]
    kept = [path for path in inside + top if path.suffix in SUFFIXES]
    return {path: path.read_text(encoding="utf-8") for path in kept}


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_path_of_a_machine(word):
    texts = _texts()
    assert PROJECT / "README.md" in texts
    offenders = [str(path) for path, text in texts.items() if word in text]
    assert not offenders, f"{word!r} stands in {offenders}"


def test_ci_runs_the_test_command_of_the_readme():
    command = "bin/pytest -n 2"
    assert f".venv/{command}" in (PROJECT / "README.md").read_text(encoding="utf-8")
    assert f'"${command.partition("/")[0]}/pytest" -n 2' in (PROJECT / ".ci/run").read_text("utf-8")


@pytest.mark.parametrize("script", sorted((PROJECT / "bin").glob("*.py")), ids=lambda p: p.name)
def test_scripts_can_be_installed(script):
    """Without this first line the installed script would be read by the shell."""
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
