"""Reads documents, one per line, from plain or compressed files, tables, TFDS or the HF hub."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tf_savae.data.builtin.load import builtin_lines
from tf_savae.data.hf_source import is_hf
from tf_savae.data.limits import bounded
from tf_savae.data.sources import check_data_dir, is_builtin, path_and_field
from tf_savae.data.text import foreign_files, hf, tables, tfds
from tf_savae.data.tfds_source import is_tfds

__all__ = ["LineReport", "read_lines"]

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_START = 512  # Number of bytes in which signatures of other formats are searched.
_MARK = "\ufeff"  # The byte order mark; it occurs inside files that were concatenated.
_LATIN = 10  # From this number of invalid bytes on, the file may have another encoding.
# Python's "surrogateescape" decodes each byte that is not UTF-8 to one such character.
_BAD_BYTE = re.compile("[\ud800-\udfff]")


class LineReport(NamedTuple):
    """Counts of the lines and words read from one source; everything dropped is counted.

    >>> LineReport("a.txt", 3, 2, 9, 1, 0, 0, 200, "truncate").summary()
    'a.txt: 3 lines read, 2 kept, 9 words, 1 empty skipped'
    """

    source: str  # path or resolved TFDS name
    lines: int  # all lines read
    kept: int  # lines returned
    words: int  # words in the kept lines
    empty: int  # lines without a word, skipped
    long: int  # lines over max_words, truncated or skipped as set by `long_lines`
    bad_bytes: int  # bytes that are not UTF-8, each replaced by U+FFFD
    max_words: int | None
    long_lines: str  # "truncate" or "skip"
    marks: int = 0  # byte order marks inside the text, removed

    def summary(self) -> str:
        """Returns a one-line description; counts of zero are omitted."""
        parts = [f"{self.source}: {self.lines:,} lines read, {self.kept:,} kept"]
        parts.append(f"{self.words:,} words")
        if self.empty:
            parts.append(f"{self.empty:,} empty skipped")
        if self.long:
            done = {"truncate": "truncated", "skip": "skipped"}[self.long_lines]
            parts.append(f"{self.long:,} over {self.max_words} words {done}")
        if self.bad_bytes:
            parts.append(f"{self.bad_bytes:,} bytes that are not UTF-8 replaced")
        if self.marks:
            parts.append(f"{self.marks:,} byte order marks removed")
        return ", ".join(parts)


def read_lines(
    source: str | os.PathLike,
    *,
    max_words: int | None = 200,
    long_lines: str = "truncate",
    data_dir: str | os.PathLike | None = None,
) -> tuple[list[str], LineReport]:
    """Reads documents, one per line, whose words are separated by whitespace.

    Args:
        source: a UTF-8 file (`.gz`, `.xz` and `.bz2` are decompressed); `FILE@COLUMN` of a table
            (`.csv`, `.tsv`, `.jsonl`; COLUMN defaults to "text" or to the only column);
            `builtin:sentences[:PART]`, which ships with the package;
            `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`, as in `tfds:imdb_reviews:train[:90%]`;
            or `hf:NAME[,CONFIG][:SPLIT][@COLUMN]`, as in `hf:stanfordnlp/imdb:train`.
        max_words: largest number of words per line; None sets no limit.
        long_lines: treatment of longer lines: "truncate" to `max_words` words, or "skip".
        data_dir: folder of the data of TFDS, for a tfds: source; the default of TFDS if None.

    Returns:
        The kept lines, with one blank between words, and their `LineReport`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no line has a word, the file is not UTF-8 text or is damaged, the dataset or
            column does not exist, or an argument is out of range.
        ModuleNotFoundError: the extra `hf`, which hf: names require, is not installed.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     print("the  cat", "", "a dog sat", sep="\\n", file=file, flush=True)
    ...     lines, report = read_lines(file.name, max_words=2)
    >>> lines, report.empty, report.long
    (['the cat', 'a dog'], 1, 1)
    """
    _check_policy(max_words, long_lines)
    check_data_dir(source, data_dir)
    name, raw = _documents(source, data_dir)
    return _keep(name, raw, max_words, long_lines)


def _documents(source: str | os.PathLike, data_dir: str | os.PathLike | None):
    if is_builtin(source):
        return builtin_lines(str(source))
    if is_tfds(source):
        return tfds.documents(str(source), data_dir)
    if is_hf(source):
        return hf.documents(str(source))
    path, column = path_and_field(source)
    if tables.is_table(path):
        return str(source), _file_lines(
            Path(path), lambda stream: tables.column_of(path, column, stream)
        )
    return str(source), _file_lines(Path(source))


def _check_policy(max_words: int | None, long_lines: str) -> None:
    if max_words is not None and max_words < 1:
        raise ValueError(
            f"max_words: expected an integer >= 1, or None for no limit, got {max_words}."
        )
    if long_lines not in ("truncate", "skip"):
        raise ValueError(f"long_lines: expected 'truncate' or 'skip', got {long_lines!r}.")


def _keep(
    source: str, raw: Iterable[str], max_words: int | None, long_lines: str
) -> tuple[list[str], LineReport]:
    """Cleans and counts lines; `raw` has a surrogate escape for each byte that is not UTF-8."""
    kept: list[str] = []
    lines = words_kept = empty = long = bad_bytes = beyond = marks = 0
    for line in raw:
        lines += 1
        foreign_files.check_no_nul(source, lines, line)
        if not line.isascii():
            beyond += len(line) - len(line.encode("ascii", "ignore"))
            line, bad = _BAD_BYTE.subn("\ufffd", line)
            bad_bytes += bad
            marks += line.count(_MARK)
            line = line.replace(_MARK, "")
        words = line.split()
        empty += not words
        if max_words is not None and len(words) > max_words:
            long += 1
            words = words[:max_words] if long_lines == "truncate" else []
        if words:
            words_kept += len(words)
            kept.append(" ".join(words))
    _check_encoding(source, bad_bytes, beyond - bad_bytes)
    report = LineReport(
        source, lines, len(kept), words_kept, empty, long, bad_bytes, max_words, long_lines, marks
    )
    _check_any_kept(report)
    return kept, report


def _check_encoding(source: str, bad_bytes: int, good: int) -> None:
    """Raises ValueError if the text seems to have another encoding than UTF-8.

    `good` is the number of non-ASCII characters that are valid UTF-8.
    """
    if bad_bytes >= _LATIN and bad_bytes > good:
        raise ValueError(
            f"{source} contains {bad_bytes:,} bytes that are not UTF-8 and only {good:,} valid "
            "non-ASCII characters, which suggests Latin-1 or Windows-1252. Convert it with `iconv "
            "-f WINDOWS-1252 -t UTF-8`."
        )


def _check_any_kept(report: LineReport) -> None:
    if not report.lines:
        raise ValueError(f"{report.source} is empty: expected at least one line of text")
    if not report.kept:
        raise ValueError(
            f"{report.source}: expected at least one usable line; of {report.lines:,} lines "
            f"{report.empty:,} have no words and {report.long:,} have more than "
            f"max_words={report.max_words}."
        )


def _file_lines(
    path: Path, documents: Callable[[Any], Iterator[str]] | None = None
) -> Iterator[str]:
    """Yields the lines of a file, or the documents that `documents` reads from its stream."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a file with one document per line.")
    suffix = path.suffix.lower()
    try:
        with _OPENERS.get(suffix, open)(path, "rb") as binary:
            if suffix in _OPENERS:
                binary = bounded(binary, path, path.stat().st_size)
            start = binary.peek(_START)[:_START]
            foreign_files.check_start(path, start)
            # Not "utf-8-sig": a file that is a part of a byte order mark would be read as empty.
            if start.startswith(codecs.BOM_UTF8):
                binary.read(len(codecs.BOM_UTF8))
            text = io.TextIOWrapper(
                binary,
                encoding="utf-8",
                errors="surrogateescape",
                newline="" if documents else None,
            )
            yield from documents(text) if documents else text
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no file at {path}: expected UTF-8 text, one document per line (plain, .gz, .xz or "
            ".bz2), or FILE@COLUMN of a .csv, .tsv or .jsonl table."
        ) from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise _damaged(path, suffix, error) from error
    except OSError as error:
        if suffix != ".bz2" or error.errno is not None:
            raise
        raise _damaged(path, suffix, error) from error  # Damage, which bz2 reports without errno.


def _damaged(path: Path, suffix: str, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a complete, valid {suffix} file: {error}. Download it again.")
