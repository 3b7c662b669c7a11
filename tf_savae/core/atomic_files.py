"""Atomic file writes that survive a crash or a loss of power."""

import contextlib
import os
from pathlib import Path

from tf_savae.core.typing import PathLike

__all__ = ["sync_file", "sync_folder", "write_whole"]


def write_whole(path: PathLike, text: str) -> None:
    """Writes a text file atomically, also when the process is killed.

    It is written beside `path` first, under a name that is made anew: whatever stands there,
    such as a link that somebody left in a shared folder, is removed and never written through.

    Args:
      path: path of the file; one that is there is replaced, and a link there too.
      text: written as UTF-8, with its line ends as they are.

    Raises:
      OSError: the system's own error (a full disk, say); the file that was there stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        # Mode "x" does not follow symbolic links.
        with open(temporary, "x", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)


def sync_file(path: PathLike) -> None:
    """Flushes a file's content to disk, so that it survives a loss of power.

    Raises:
      OSError: it could not be written to the disk, or there is no such file.
    """
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: PathLike) -> None:
    """Flushes the entries of `folder` to disk, where the platform can.

    Some network file systems cannot, and a folder may be open to new names but not to readers.
    What was written there is in force all the same, so this is no error.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
