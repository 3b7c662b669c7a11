"""Hooks of mkdocs: pages outside of docs/ join the site, and links between files lead to pages.

Notebooks become pages, with the pictures that they were saved with.

The Markdown files are written for a reader of the repository. In the site README.md is the first
page, files that pages link to (JSON of measurements, the licence) are copied, and links to folders,
which a site cannot show, are left as text.
"""

import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File

PROJECT = Path(__file__).resolve().parent.parent
# Pages outside of docs/, and their places in the site.
PAGES = {"README.md": "index.md", "BUILD.md": "build.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def _target(source, link):
    """The file or folder of this checkout that a link in the file `source` names, or None."""
    if link.startswith("data:"):  # A picture in the page.
        return None
    target = (Path(source).parent / link).resolve()
    inside = "://" not in link and target.exists() and target.is_relative_to(PROJECT)
    return target if inside else None


def _place(target):
    """Where the site has a file of the checkout."""
    path = target.relative_to(PROJECT).as_posix()
    return PAGES.get(path, path.removeprefix("docs/").replace(".ipynb", ".md"))


def _caption(cell):
    """The caption that a cell of text begins with, as alternative text of the picture above it."""
    first = "".join(cell["source"]).partition("\n\n")[0].replace("\n", " ")
    captioned = cell["cell_type"] == "markdown" and first.startswith("*")
    return first.strip("*") if captioned else "output of the cell above"


def _page_of(notebook):
    """A notebook as Markdown: its text, its code, and what its cells printed and drew."""
    parts = []
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            picture = output.get("data", {}).get("image/png")
            if picture:
                caption = _caption(cells[min(number + 1, len(cells) - 1)])
                parts.append(f"![{caption}](data:image/png;base64,{picture.strip()})")
            elif "text" in output:
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _source_of(file):
    """Where a page's text lies; a notebook's where its page would."""
    return file.abs_src_path or str(PROJECT / "docs" / file.src_uri)


def on_files(files, config):
    for notebook in sorted(PROJECT.glob("docs/notebooks/*.ipynb")):
        place = _place(notebook)
        files.append(File.generated(config, place, content=_page_of(notebook)))
    for name, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(PROJECT / name)))
    for page in list(files.documentation_pages()):
        for _, link, _ in LINK.findall(page.content_string):
            target = _target(_source_of(page), link)
            if target and target.is_file() and not files.get_file_from_path(_place(target)):
                place = _place(target)
                files.append(File.generated(config, place, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown, page, config, files):
    def in_the_site(match):
        text, link, anchor = match.groups(default="")
        target = _target(_source_of(page.file), link)
        if target is None:
            return match.group()
        if target.is_dir():
            return text
        path = os.path.relpath(_place(target), Path(page.file.src_uri).parent)
        return f"[{text}]({path}{anchor})"

    return LINK.sub(in_the_site, markdown)
