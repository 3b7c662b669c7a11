"""What the pages name is there: files they link to, tests they tell to run, extras to install."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page):
    return page.read_text(encoding="utf-8")


def anchors(page):
    """Of its headings, as they are made for links: lower case, dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def extras():
    """Those of setup.py."""
    tree = ast.parse((PROJECT / "setup.py").read_text(encoding="utf-8"))
    named = {
        keyword.arg: keyword.value for keyword in ast.walk(tree) if isinstance(keyword, ast.keyword)
    }
    return {key.value for key in named["extras_require"].keys}


@BY_NAME
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@BY_NAME
def test_commands_run_tests_that_exist(page):
    for arguments in re.findall(r"pytest ((?:tests/\w+\.py ?)+(?:-k [\w]+)?)", text_of(page)):
        files, _, chosen = arguments.partition("-k ")
        for file in files.split():
            found = re.findall(r"^def (test_\w+)", text_of(PROJECT / file), re.MULTILINE)
            assert [name for name in found if chosen in name], f"{page.name}: pytest {arguments}"


@BY_NAME
def test_scripts_exist(page):
    for script in re.findall(r"python ((?:bin|benchmarks|docs)/[\w/]+\.py)", text_of(page)):
        assert (PROJECT / script).exists(), f"{page.name}: python {script}"


def test_extras_are_those_of_setup():
    named = set()
    for file in [*PAGES, *PROJECT.glob("benchmarks/**/*.py"), *PROJECT.glob("tests/*.py")]:
        for some in re.findall(r"pip install (?:-e )?'?\.\[([\w,]+)\]", text_of(file)):
            named |= set(some.split(","))
        named |= set(re.findall(r"[Ee]xtra `(\w+)`", text_of(file)))
    assert {"test", "bench", "tpu"} <= named <= extras()
