"""Atomic file writes that survive a crash or a loss of power."""

import contextlib
import os
from pathlib import Path

from tf_savae.core.typing import PathLike

__all__ = ["sync_file", "sync_folder", "write_whole"]


def write_whole(path: PathLike, text: str) -> None:
    """Writes a text file atomically, even if the process is killed.

    The text is first written to a temporary file in the same folder. An existing file or symbolic
    link with the name of the temporary file is removed first; a link is never followed.

    Args:
      path: path of the file; an existing file or link is replaced.
      text: the content, written as UTF-8 with unchanged line ends.

    Raises:
      OSError: the file cannot be written, for example because the disk is full; an existing file
        is then unchanged.
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
      OSError: the file does not exist, or its content could not be written to disk.
    """
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def sync_folder(folder: PathLike) -> None:
    """Flushes the entries of `folder` to disk, if the platform supports it.

    Errors are ignored: some network file systems do not support it, and a folder may be writable
    but not readable. The files in the folder have been written in either case.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
