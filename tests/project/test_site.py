"""The site of the pages is built by one command, which a broken link or a lost page ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="needs mkdocs: pip install '.[docs]'")
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_site(site):
    pages = [path.relative_to(PROJECT / "docs") for path in PROJECT.glob("docs/**/*.md")]
    for page in [*pages, Path("build"), Path("changelog")]:
        assert (site / page.with_suffix("") / "index.html").exists(), page
    first = (site / "index.html").read_text(encoding="utf-8")
    assert "<h1" in first and 'href="guide/"' in first and 'src="images/' in first


def test_notebooks_are_pages_with_their_pictures(site):
    for notebook in PROJECT.glob("docs/notebooks/*.ipynb"):
        page = (site / "notebooks" / notebook.stem / "index.html").read_text(encoding="utf-8")
        assert page.count('src="data:image/png;base64,') == 4


def test_links_between_files_lead_somewhere_in_the_site(site):
    """mkdocs checks pages; this checks files outside of docs/, which the hook copies."""
    linked = 0
    for page in site.rglob("index.html"):
        for link in re.findall(r'(?:href|src)="([^"#:]+)["#]', page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert target.exists() and target.is_relative_to(site.resolve()), (page.name, link)
            linked += "results/" in link
    assert linked
