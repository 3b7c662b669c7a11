"""Atomic creation of a model server's numbered version folders."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.atomic_files import sync_file, sync_folder
from tf_savae.core.typing import PathLike

__all__ = ["new_version"]

_INCOMING = ".incoming"


@contextlib.contextmanager
def new_version(base: PathLike, version: int | None = None) -> Iterator[dict[str, Path]]:
    """Context that yields {"path": a folder to write}, which is renamed to base/VERSION on exit.

    After the context, "path" is the path of the version. Until then the folder has a hidden name in
    `base`, which servers ignore. If the body raises, the folder is removed. If the process is
    killed, the hidden folder remains.

    Args:
      base: the model's folder; created if it does not exist.
      version: version number; by default one more than the largest existing version.

    Raises:
      ValueError: the version exists, or `base` cannot contain versions or be written.
    """
    base = Path(base)
    _make(base)
    if version is not None:
        _refuse_taken(base, validation.positive_int("version", version))
    incoming = base / f"{_INCOMING}-{os.getpid()}-{os.urandom(4).hex()}"
    written = {"path": incoming}
    try:
        incoming.mkdir()
        yield written
        _sync(incoming)
        written["path"] = _place(incoming, base, version)
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(
            f"path {base}: the export could not be written: {type(error).__name__}: {error}. Its "
            "files were removed."
        ) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    # The version is visible since the rename, so an error here must not report a failed export.
    sync_folder(base)


def _make(base):
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"path {base}: expected a folder that can be created, got {type(error).__name__}: "
            f"{error.strerror}. Use another path."
        ) from error
    if not os.access(base, os.W_OK | os.X_OK):
        raise ValueError(f"path {base}: expected a folder that can be written. Use another path.")
    if (base / "saved_model.pb").exists():
        raise ValueError(
            f"path {base}: expected the folder that holds versions (1, 2, ...), got a SavedModel. "
            "Use its parent."
        )


def _numbers(base):
    return [int(p.name) for p in base.iterdir() if p.name.isascii() and p.name.isdigit()]


def _refuse_taken(base, version):
    if version in _numbers(base):
        raise ValueError(
            f"version: {base / str(version)} exists and is not overwritten, since a server may be "
            "reading it. Use another version, or none for the next one."
        )


def _place(incoming, base, version):
    """Renames the folder to `version`, or to the next free version if that is None."""
    while True:
        number = version or max(_numbers(base), default=0) + 1
        target = base / str(number)
        try:
            os.rename(incoming, target)  # Fails if a concurrent export was faster.
        except OSError:
            _refuse_taken(base, version)
            if number not in _numbers(base):
                raise
            continue
        return target


def _sync(folder):
    """Syncs all files and folders to disk, which must happen before the rename."""
    for path in (folder, *folder.rglob("*")):
        if path.is_file():
            sync_file(path)
        else:
            sync_folder(path)
