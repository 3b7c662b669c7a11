"""Reads one column of a table as documents: .csv, .tsv and .jsonl files, also compressed."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["column_of", "is_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_COMPRESSED = (".gz", ".xz", ".bz2")
_DEFAULT = "text"
_LARGEST_CELL = 2**27  # Characters; the default limit of Python is 2**17.


def is_table(path: str | Path) -> bool:
    """Returns whether a path has a table's suffix: .csv, .tsv, .jsonl, .ndjson, also with .gz.

    >>> is_table("reviews.csv.gz"), is_table("reviews.txt")
    (True, False)
    """
    return _kind(path) in (*_SEPARATORS, *_JSON_LINES)


def column_of(path: str | Path, column: str | None, stream: TextIO) -> Iterator[str]:
    """Returns an iterator over the cells of one column of an opened table; empty cells are "".

    Args:
      path: path of the file, whose suffix determines the format.
      column: name of the column; None for "text" or for the only column.
      stream: the text of the file, opened with newline="".

    Raises:
      ValueError: there is no such column, or a row is malformed.

    >>> import io
    >>> list(column_of("a.csv", "title", io.StringIO('title,year\\n"One, two",1999\\n')))
    ['One, two']
    """
    if _kind(path) in _JSON_LINES:
        return _json_lines(path, column, stream)
    return _separated(path, column, stream)


def _kind(path):
    name = Path(path)
    if name.suffix.lower() in _COMPRESSED:
        name = name.with_suffix("")
    return name.suffix.lower()


def _separated(path, column, stream):
    rows = csv.reader(stream, delimiter=_SEPARATORS[_kind(path)], strict=True)
    try:
        csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_CELL))
        header = next(rows, [])
        chosen = header.index(_chosen(path, column, header))
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{path}: expected {len(header)} cells in each row, as in the header, got "
                    f"{len(row)} in the row that ends in line {rows.line_num:,}. Quote cells that "
                    "contain the separator."
                )
            yield row[chosen]
    except csv.Error as error:
        raise ValueError(
            f"{path}: expected a valid table, got line {rows.line_num:,}: {error}."
        ) from error


def _json_lines(path, column, stream):
    number, known = 0, None
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}: expected one JSON object per line, got line {number:,}: {error}."
            ) from error
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}: expected one JSON object per line, got {type(row).__name__} in line "
                f"{number:,}."
            )
        known = known or _chosen(path, column, list(row))
        cell = row.get(known)
        if not isinstance(cell, str | None):
            raise ValueError(
                f"{path}: expected text in column {known!r}, got {type(cell).__name__} in line "
                f"{number:,}."
            )
        yield cell or ""


def _chosen(path, column, names):
    if column is None and len(names) == 1:
        return names[0]
    if (column or _DEFAULT) in names:
        return column or _DEFAULT
    listed = ", ".join(names) or "none"
    raise ValueError(
        f"{path}: expected a column {column or _DEFAULT!r}, got the columns {listed}. Name one, as "
        f"in {Path(path).name}@{names[0] if names else 'COLUMN'}."
    )
