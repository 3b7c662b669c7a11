"""The API reference is made from the docstrings by the command in BUILD.md, whole."""

import importlib
import pkgutil
import re
from pathlib import Path

import pdoc
import pytest

import tf_savae

BUILD = (Path(__file__).resolve().parents[2] / "BUILD.md").read_text(encoding="utf-8")
# The tensors-and-layers packages are attributes of tf_savae, which leads pdoc to them.
INSIDE = {f"tf_savae.{name}" for name in ("networks", "probability", "svi")}
INTERNAL = {f"tf_savae.{name}" for name in ("core", "autodiff", "ops", "samplers")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    (arguments,) = re.findall(r"pdoc --docformat google -o site (.+)", BUILD)
    folder = tmp_path_factory.mktemp("site")
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*arguments.split(), output_directory=folder)
    return folder


def test_every_public_name_is_there(site):
    found = {f"tf_savae.{m.name}" for m in pkgutil.iter_modules(tf_savae.__path__) if m.ispkg}
    packages = {"tf_savae", *found} - INTERNAL
    assert INSIDE <= packages
    for package in sorted(packages):
        page = site.joinpath(*package.split(".")).with_suffix(".html").read_text(encoding="utf-8")
        for name in importlib.import_module(package).__all__:
            assert f'id="{name}"' in page or f"{name}.html" in page, f"{package}.{name}"
