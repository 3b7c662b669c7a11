"""What the pages name is there: files they link to, tests they tell to run, extras to install."""

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])


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


def missing(pattern, exists):
    """(page, what it names) of what does not exist; every pattern has to be met in some page."""
    named = [(page, name) for page in PAGES for name in re.findall(pattern, text_of(page))]
    assert named, f"no page has {pattern}"
    lost = [(page, name) for page, name in named if not exists(page, name)]
    return [(str(page.relative_to(PROJECT)), name) for page, name in lost]


def leads_somewhere(page, link):
    if "://" in link:
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def runs_tests(page, arguments):
    files, _, chosen = arguments.partition("-k ")
    names = [
        re.findall(r"^def (test_\w+)", text_of(PROJECT / file), re.MULTILINE)
        for file in files.split()
    ]
    return all(any(chosen in name for name in found) for found in names)


def test_links_lead_somewhere():
    assert not missing(r"\]\(([^)\s]+)\)", leads_somewhere)
    assert re.search(r"\]\(docs/", text_of(PROJECT / "README.md"))


def test_commands_run_tests_that_exist():
    assert not missing(r"pytest ((?:tests/[\w/]+\.py ?)+(?:-k [\w]+)?)", runs_tests)


def test_scripts_exist():
    scripts = r"python ((?:bin|benchmarks|docs|tests)/[\w/]+\.py)"
    assert not missing(scripts, lambda page, script: (PROJECT / script).exists())


def test_extras_are_those_of_setup():
    named = set()
    for file in [*PAGES, *PROJECT.glob("benchmarks/**/*.py"), *PROJECT.glob("tests/**/*.py")]:
        for some in re.findall(r"pip install (?:-e )?'?\.\[([\w,]+)\]", text_of(file)):
            named |= set(some.split(","))
        named |= set(re.findall(r"[Ee]xtra `(\w+)`", text_of(file)))
    assert {"test", "bench", "tpu"} <= named <= extras()


def prose_of(page):
    """(number, line) of its lines outside of tables, code blocks and images."""
    fenced = code = False
    before = ""
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        code = line.startswith("    ") and (code or not before.strip())
        if not (fenced or code or line.lstrip().startswith(("|", "!["))):
            yield number, line
        before = line


def test_prose_keeps_to_120_columns():
    """Wrapped lines make changes readable; a link or a name without a blank may be longer."""
    long = [
        f"{page.relative_to(PROJECT)}:{number}"
        for page in PAGES
        for number, line in prose_of(page)
        if len(line) > 120 and " " in line.strip()
    ]
    assert not long


def broken_tables(text):
    """Rows of tables that have no heading above them, which a page shows as plain text."""
    lines = [line.strip() for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).split("\n")]
    pairs = zip(["", *lines[:-1]], lines, [*lines[1:], ""], strict=True)
    return [
        line for above, line, below in pairs
        if line.startswith("|") and not above.startswith("|") and not below.startswith("|--")
    ]


def test_tables_have_headings():
    assert broken_tables("| a |\n|---|\n| b |\n\n| c |\n") == ["| c |"]
    broken = {page.name: found for page in PAGES if (found := broken_tables(text_of(page)))}
    assert not broken


def test_the_layer_of_the_readme_goes_into_a_keras_model():
    """Its two lines run after those of the quick start that they name."""
    readme = text_of(PROJECT / "README.md")
    start = re.search(r"^```python\n(.*?)^refinement = ", readme, re.MULTILINE | re.DOTALL)[1]
    (lines,) = re.findall(r"^```py\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    names = {"__name__": "readme"}
    exec(compile(start + lines, "README.md", "exec"), names)
    first = names["encoder"](names["x"][:4])
    refined = names["model"](names["x"][:4])
    for before, after in zip(first, refined, strict=True):
        assert after.shape == (4, 2) and 0 < abs(after - before).numpy().max() < 1
