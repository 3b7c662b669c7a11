"""Writes JSON files of a run atomically, and reads them defensively."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tf_savae.core import atomic_files
from tf_savae.core.typing import PathLike

__all__ = ["digest", "inside", "read_json", "record_path", "write_whole"]

_LARGEST_JSON = 2**26  # Bytes; a history of 10,000 epochs takes a twentieth of this.


def write_whole(path: PathLike, text: str) -> None:
    """Writes a text file atomically, even if the process is killed.

    Raises:
      OSError: writing failed, for example on a full disk; an existing file is unchanged.
    """
    try:
        atomic_files.write_whole(path, text)
    except OSError as error:
        raise OSError(
            f"{path}: could not be written ({error.strerror or error}). The previous file was "
            "kept. Free disk space, or repair the folder, and run the same command again."
        ) from error


def inside(folder: PathLike, name: str) -> Path:
    """Returns folder / name after checking that the path stays inside the folder.

    Raises:
      ValueError: the path leaves the folder, through a link or through its name.

    >>> inside("run", "../other")
    Traceback (most recent call last):
    ValueError: run: expected no links to other folders, got ../other, which points to ...
    """
    folder = Path(folder)
    path = folder / name
    try:
        target, own = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # A link to itself.
        raise ValueError(f"{path}: expected a file or folder, got {error}.") from error
    if own != target and own not in target.parents:
        raise ValueError(
            f"{folder}: expected no links to other folders, got {name}, which points to {target}. "
            "Nothing was read or written there. Remove the link."
        )
    return path


def record_path(folder: PathLike) -> Path:
    """Returns the path of run.json, the first file that a run writes into its folder.

    Raises:
      FileNotFoundError: there is no such folder, or no run.json in it.
      ValueError: run.json is a link to another folder.

    >>> record_path("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: workdir no/such/folder: expected the folder of a finished run, but it ...
    """
    path = inside(folder, "run.json")
    if not path.is_file():
        missing = "has no run.json" if Path(folder).is_dir() else "does not exist"
        raise FileNotFoundError(
            f"workdir {folder}: expected the folder of a finished run, but it {missing}. Use the "
            "--workdir of the training command."
        )
    return path


def read_json(path: PathLike) -> Any:
    """Returns the content of a JSON file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not JSON, or it is too large or too deeply nested.
    """
    try:
        size = os.path.getsize(path)
        if size > _LARGEST_JSON:
            raise ValueError(f"{size:,} bytes, more than the limit of {_LARGEST_JSON:,}")
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(
            f"{path}: expected JSON, got {error}. Does the file belong to a run?"
        ) from error


def digest(path: PathLike) -> str:
    """Returns the SHA-256 of a file's bytes in hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
