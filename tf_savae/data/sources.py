"""Names of data: files, `FILE@FIELD`, and sets that are known by name (builtin:, tfds:, hf:)."""

import os
from pathlib import Path

from tf_savae.core.typing import PathLike
from tf_savae.data import hf_source, tfds_source
from tf_savae.data.builtin import load

__all__ = ["is_builtin", "is_name", "path_and_field", "readable"]

_PREFIXES = (load.PREFIX, tfds_source.PREFIX, hf_source.PREFIX)


def is_builtin(source: PathLike) -> bool:
    """Whether `source` names a set that ships with the package."""
    return isinstance(source, str) and source.startswith(load.PREFIX)


def is_name(source: PathLike) -> bool:
    """Whether `source` names a data set, and not a file or folder.

    >>> is_name("builtin:sentences"), is_name("train.txt")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(_PREFIXES)


def readable(source: PathLike) -> bool:
    """Whether `source` names a data set, or a file, folder or FILE@FIELD that can be read.

    >>> readable("tfds:mnist"), readable("no/such/file.npz@images")
    (True, False)
    """
    places = {str(source), str(path_and_field(source)[0])}
    return is_name(source) or any(os.access(place, os.R_OK) for place in places)


def path_and_field(source: PathLike) -> tuple[str, str | None]:
    """The two halves of FILE@FIELD; (FILE, None) where there is no field, or a file of that name.

    >>> path_and_field("reviews.csv@text")
    ('reviews.csv', 'text')
    """
    path, mark, field = str(source).rpartition("@")
    if mark and path and field and not Path(source).exists():
        return path, field
    return str(source), None
