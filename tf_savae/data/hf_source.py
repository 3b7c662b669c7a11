"""Parses names of Hugging Face datasets and opens them; shared by text and images."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["PREFIX", "chosen_column", "is_hf", "opened", "parse"]

PREFIX = "hf:"
_NAME = re.compile(
    r"(?P<name>[\w./~-]+)(?:,(?P<config>[\w.-]+))?"  # stanfordnlp/imdb, or glue,sst2
    r"(?::(?P<split>[^@]+))?"  # train, test[:10%]
    r"(?:@(?P<column>[\w .-]+))?"  # text
)
_SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")  # Files that save_to_disk writes.
_DATA = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json"}


def is_hf(source: str | os.PathLike) -> bool:
    """Returns whether `source` names a Hugging Face dataset."""
    return isinstance(source, str) and source.startswith(PREFIX)


def parse(source: str) -> tuple[str, str | None, str | None, str | None]:
    """Returns the name, configuration, split and column of `hf:NAME[,CONFIG][:SPLIT][@COLUMN]`.

    Raises:
      ValueError: the name is malformed.

    >>> parse("hf:nyu-mll/glue,sst2:validation@sentence")
    ('nyu-mll/glue', 'sst2', 'validation', 'sentence')
    """
    match = _NAME.fullmatch(source.removeprefix(PREFIX))
    if match is None:
        raise ValueError(
            f"{source}: expected {PREFIX}NAME[,CONFIG][:SPLIT][@COLUMN], such as "
            f"{PREFIX}stanfordnlp/imdb:train@text."
        )
    return match["name"], match["config"], match["split"], match["column"]


def opened(source: str, split: str | None) -> dict[str, Any]:
    """Returns the dataset's splits, {name: `datasets.Dataset`}: all, or only the requested one.

    NAME is a dataset on the hub, a folder written by `save_to_disk`, a local .parquet, .csv or
    .jsonl file, or a folder of such files.

    Raises:
      ModuleNotFoundError: the `datasets` library is not installed.
      ValueError: there is no such dataset or split, or it cannot be downloaded.
    """
    try:
        import datasets  # Imported here: optional, and not needed for reading files.
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{source}: reading Hugging Face datasets requires a package that is not installed: "
            "pip install 'tf_savae[hf]'."
        ) from error
    name, config, _, _ = parse(source)
    try:
        found = _load(datasets, name, config, split)
    except Exception as error:  # noqa: BLE001 The library raises many types: network, disk, unknown names.
        first = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
        raise ValueError(
            f"{source}: the dataset could not be read ({first}). Check the name, the split and the "
            "network connection, or use a file instead."
        ) from error
    return dict(found) if isinstance(found, Mapping) else {split or "train": found}


def _load(datasets, name, config, split):
    path = Path(name).expanduser()
    if path.is_dir() and any((path / file).exists() for file in _SAVED):
        found = datasets.load_from_disk(str(path))
        if isinstance(found, Mapping):
            return found[split] if split else found
        if split not in (None, "train", str(found.split)):
            raise ValueError(
                f"the folder contains a single split, {found.split}, and no split named {split}"
            )
        return found
    if path.is_file() and path.suffix in _DATA:
        return datasets.load_dataset(_DATA[path.suffix], data_files=str(path), split=split)
    return datasets.load_dataset(str(path) if path.exists() else name, config, split=split)


def chosen_column(source: str, features: Mapping, possible: list[str], kind: str) -> str:
    """Returns the column that `source` names, else the column `kind`, else the only candidate.

    Raises:
      ValueError: no column qualifies, or several do.

    >>> chosen_column("hf:imdb", {"text": str, "label": int}, ["text"], "text")
    'text'
    """
    wanted = parse(source)[3]
    if wanted in possible:
        return wanted
    if wanted is None and (kind in possible or len(possible) == 1):
        return kind if kind in possible else possible[0]
    which = f"named {wanted!r}" if wanted else "that can be chosen automatically"
    raise ValueError(
        f"{source}: expected a column of {kind} {which}, got {', '.join(possible) or 'none'} among "
        f"the columns {', '.join(features)}. Name one, as in {PREFIX}NAME:SPLIT@COLUMN."
    )
