"""Parses names of TensorFlow Datasets; shared by text and images."""

import os
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["PREFIX", "cause", "find_builder", "flat", "is_tfds", "parse", "select"]

PREFIX = "tfds:"
_NAME = re.compile(
    r"(?P<name>\w+(?:/[\w.-]+)?(?::\d+\.[\d*]+\.[\d*]+)?)"  # imdb_reviews/plain_text:1.0.0
    r"(?::(?P<split>[^@]+))?"  # train, test[:10%]
    r"(?:@(?P<field>[\w/.-]+))?"  # title, translation/en
)


def is_tfds(source: str | os.PathLike) -> bool:
    """Returns whether `source` names a TFDS dataset rather than a file."""
    return isinstance(source, str) and source.startswith(PREFIX)


def parse(source: str, example: str) -> tuple[str, str | None, str | None]:
    """Returns the name, split and field of `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`.

    Raises:
        ValueError: the name is malformed; the message shows `example`.

    >>> parse("tfds:mnist:test@image", "tfds:mnist")
    ('mnist', 'test', 'image')
    """
    match = _NAME.fullmatch(source.removeprefix(PREFIX))
    if match is None:
        raise ValueError(
            f"cannot parse the TFDS name {source!r}: expected "
            f"{PREFIX}NAME[/CONFIG][:VERSION][:SPLIT][@FIELD], such as {example}."
        )
    return match["name"], match["split"], match["field"]


def find_builder(name: str, data_dir: str | os.PathLike | None, instead: str) -> Any:
    """Returns the TFDS builder called `name`.

    Raises:
        ValueError: TFDS has no such builder; the message suggests `instead`.
    """
    # Imported here so that plain files can be read without loading it.
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # TFDS raises many types; the message gives the cause.
        raise ValueError(
            f"TFDS has no dataset {name!r} here ({cause(error)}); check the name at "
            f"https://www.tensorflow.org/datasets, or use {instead} instead"
        ) from error


def flat(features: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each leaf of a feature dictionary with its `outer/inner` name."""
    if not hasattr(features, "items"):
        yield prefix.rstrip("/"), features
        return
    for key, feature in features.items():
        yield from flat(feature, f"{prefix}{key}/")


def select(dataset: Any, field: str) -> Iterator[Any]:
    """Returns an iterator over the feature `outer/inner` of the examples, as NumPy."""

    def inner(example):
        for key in field.split("/"):
            example = example[key]
        return example

    return dataset.map(inner).as_numpy_iterator()


def cause(error: Exception) -> str:
    """Returns the first line of an error message; TFDS appends a list of all its datasets."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
