"""Parses names of data sources: files, `FILE@FIELD`, and datasets (builtin:, tfds:, hf:)."""

import os
from pathlib import Path

from tf_savae.core.typing import PathLike
from tf_savae.data import hf_source, tfds_source
from tf_savae.data.builtin import load

__all__ = ["check_data_dir", "is_builtin", "is_name", "path_and_field", "readable"]

_PREFIXES = (load.PREFIX, tfds_source.PREFIX, hf_source.PREFIX)


def is_builtin(source: PathLike) -> bool:
    """Returns whether `source` names a dataset that ships with the package."""
    return isinstance(source, str) and source.startswith(load.PREFIX)


def is_name(source: PathLike) -> bool:
    """Returns whether `source` names a dataset rather than a file or folder.

    >>> is_name("builtin:sentences"), is_name("train.txt")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(_PREFIXES)


def readable(source: PathLike) -> bool:
    """Returns whether `source` names a dataset, or a readable file, folder or FILE@FIELD.

    >>> readable("tfds:mnist"), readable("no/such/file.npz@images")
    (True, False)
    """
    places = {str(source), str(path_and_field(source)[0])}
    return is_name(source) or any(os.access(place, os.R_OK) for place in places)


def check_data_dir(source: PathLike, data_dir: PathLike | None) -> None:
    """Raises ValueError if `data_dir`, the folder of TFDS, is given with another source.

    >>> check_data_dir("train.txt", "datasets")
    Traceback (most recent call last):
    ValueError: data_dir: requires a source tfds:NAME, got 'datasets' with train.txt, where it ...
    """
    if data_dir is not None and not tfds_source.is_tfds(source):
        raise ValueError(
            f"data_dir: requires a source tfds:NAME, got {str(data_dir)!r} with {source}, where it "
            "has no effect. Leave it out."
        )


def path_and_field(source: PathLike) -> tuple[str, str | None]:
    """Splits FILE@FIELD into (FILE, FIELD).

    Returns (source, None) if there is no field, or if a file with the whole name exists.

    >>> path_and_field("reviews.csv@text")
    ('reviews.csv', 'text')
    """
    path, mark, field = str(source).rpartition("@")
    if mark and path and field and not Path(source).exists():
        return path, field
    return str(source), None
