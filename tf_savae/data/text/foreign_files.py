"""Detects files that are not UTF-8 text by their first bytes, and suggests a conversion."""

import re

from tf_savae.core.typing import PathLike

__all__ = ["check_no_nul", "check_start"]

_UNPACK = "extract it, and use the text file inside"
_EXPORT = "export its text, one document per line"
_UTF8 = "convert it to UTF-8 with `iconv -f {} -t UTF-8`"
# Patterns of the first bytes. Signatures of letters only ("PAR1", "ID3"), with which a text may
# also begin, are matched together with further bytes.
_SIGNATURES = {
    rb"\x1f\x8b": "gzip data: its name must end in .gz",
    rb"\xfd7zXZ\x00": "xz data: its name must end in .xz",
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": "bzip2 data: its name must end in .bz2",
    rb"PK(\x03\x04|\x05\x06|\x07\x08)": f"a zip archive (.zip, .docx, .xlsx, .npz): {_UNPACK}",
    rb"\x28\xb5\x2f\xfd": "Zstandard data (.zst): decompress it first",
    rb"\x04\x22\x4d\x18": "lz4 data: decompress it first",
    rb"\x1f[\x9d\xa0]": "data of `compress` (.Z): decompress it first",
    rb"7z\xbc\xaf\x27\x1c": f"a 7z archive: {_UNPACK}",
    rb"Rar!\x1a\x07": f"a rar archive: {_UNPACK}",
    rb".{257}ustar": f"a tar archive: {_UNPACK}",
    rb"%PDF-\d": f"a PDF document: {_EXPORT}",
    rb"\{\\rtf\d": f"an RTF document: {_EXPORT}",
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"an Office document (.doc, .xls): {_EXPORT}",
    rb"PAR1[\x00-\x1f]": f"a Parquet table: {_EXPORT}",
    rb"ARROW1\x00\x00|FEA1[\x00-\x1f]": f"an Arrow table: {_EXPORT}",
    rb"Obj\x01": f"an Avro table: {_EXPORT}",
    rb"SQLite format 3\x00": f"an SQLite database: {_EXPORT}",
    rb"\x89HDF\r\n\x1a\n": f"an HDF5 file: {_EXPORT}",
    rb"\x93NUMPY": f"a NumPy array: {_EXPORT}",
    rb"\x80[\x02-\x05][\x8a\x95}\]c(X]": f"a Python pickle: {_EXPORT}",
    rb"\x89PNG\r\n": "a PNG image: expected text.",
    rb"\xff\xd8\xff": "a JPEG image: expected text.",
    rb"GIF8[79]a": "a GIF image: expected text.",
    rb"\x7fELF": "an executable: expected text.",
    rb"version https://git-lfs\.github\.com/spec/": (
        "a Git LFS pointer instead of the file itself: fetch it with `git lfs pull`"
    ),
    rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff": f"UTF-32 text: {_UTF8.format('UTF-32')}",
    rb"\xff\xfe|\xfe\xff": f"UTF-16 text: {_UTF8.format('UTF-16')}",
    rb"[^\x00]\x00{3}([^\x00]\x00{3})+": f"UTF-32 text: {_UTF8.format('UTF-32LE')}",
    rb"\x00{3}[^\x00](\x00{3}[^\x00])+": f"UTF-32 text: {_UTF8.format('UTF-32BE')}",
    rb"[^\x00]\x00([^\x00]\x00)+": f"UTF-16 text: {_UTF8.format('UTF-16LE')}",
    rb"\x00[^\x00](\x00[^\x00])+": f"UTF-16 text: {_UTF8.format('UTF-16BE')}",
}
_PATTERNS = {re.compile(pattern, re.DOTALL): what for pattern, what in _SIGNATURES.items()}


def check_start(path: PathLike, start: bytes) -> None:
    """Raises ValueError if the first bytes of a file are the signature of another format.

    >>> check_start("a.txt", b"the cat sat")
    """
    for pattern, what in _PATTERNS.items():
        if pattern.match(start):
            raise ValueError(f"{path} contains {what}")


def check_no_nul(path: PathLike, number: int, line: str) -> None:
    """Raises ValueError if a line contains a NUL character, which does not occur in text.

    >>> check_no_nul("a.txt", 1, "the cat sat")
    """
    if "\x00" in line:
        raise ValueError(
            f"{path}: expected UTF-8 text, one document per line, got a NUL byte in line "
            f"{number:,}, as in binary files and UTF-16 text. Convert it, or use another file."
        )
