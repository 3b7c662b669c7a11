"""Limits the memory that reading a file may take."""

import io
from typing import Any

from tf_savae.core.typing import PathLike

__all__ = ["bounded", "check_expansion", "largest"]

_ALWAYS = 2**30  # Expanded bytes that are accepted for any file.
_RATIO = 100  # Above that, largest ratio of expanded to stored bytes; text and images have 2 to 30.


def check_expansion(path: PathLike, expanded: int, stored: int) -> None:
    """Raises ValueError if `expanded` bytes are implausible for a file of `stored` bytes.

    >>> check_expansion("a.gz", 2**40, 10_000)
    Traceback (most recent call last):
    ValueError: a.gz: its 10,000 bytes expand to 1,099,511,627,776 or more, ...
    """
    if expanded > largest(stored):
        raise ValueError(
            f"{path}: its {stored:,} bytes expand to {expanded:,} or more, far more than text or "
            "images do, as in a decompression bomb. Decompress it by hand if you trust it."
        )


def largest(stored: int) -> int:
    """Returns the largest accepted expanded size, in bytes, of a file of `stored` bytes."""
    return max(_ALWAYS, _RATIO * stored)


class _Bounded(io.RawIOBase):
    """Stream that counts the bytes read from another stream and checks their number."""

    def __init__(self, stream, path, stored):
        super().__init__()
        self._stream, self._path, self._stored = stream, path, stored
        self._count = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        found = self._stream.read(len(buffer))
        self._count += len(found)
        check_expansion(self._path, self._count, self._stored)
        buffer[: len(found)] = found
        return len(found)


def bounded(stream: Any, path: PathLike, stored: int) -> io.BufferedReader:
    """Wraps the decompressed `stream` of a file of `stored` bytes.

    Reading raises ValueError once the number of bytes exceeds `largest(stored)`.
    """
    return io.BufferedReader(_Bounded(stream, path, stored), 2**17)
