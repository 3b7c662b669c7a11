"""Reads documents from TensorFlow Datasets."""

import os
from collections.abc import Iterator

import numpy as np

from tf_savae.data.tfds_source import PREFIX, cause, find_builder, flat, parse, select

__all__ = ["documents"]


def documents(source: str, data_dir: str | os.PathLike | None = None) -> tuple[str, Iterator[str]]:
    """Opens `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`.

    SPLIT defaults to "train". FIELD defaults to the feature "text" or to the only text feature; a
    nested feature is written `outer/inner`. The dataset is downloaded if necessary.

    Returns:
        The name including split and field, and the documents in the dataset's fixed order, one
        string each, with surrogate escapes for bytes that are not UTF-8.

    Raises:
        ValueError: the name is malformed, TFDS does not have the dataset or cannot download it, or
            it has no such split or text feature.
    """
    name, split, field = parse(source, f"{PREFIX}imdb_reviews:train")
    split = split or "train"
    builder = find_builder(name, data_dir, "a text file")
    field = _text_field(name, builder.info.features, field)
    dataset = _prepared(builder, name, split)
    return f"{PREFIX}{name}:{split}@{field}", _strings(dataset, field)


def _text_field(name: str, features, wanted: str | None) -> str:
    leaves = list(flat(features))
    fields = [field for field, feature in leaves if _is_text(feature)]
    if not fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has no text feature: its features are "
            f"{', '.join((field for field, _ in leaves))}"
        )
    # The first feature is not used: a dataset prepared on disk has no fixed order of features.
    if wanted is None and len(fields) > 1 and "text" not in fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has several text features: select one of "
            f"{', '.join(sorted(fields))}, as in {PREFIX}{name}@{min(fields)}"
        )
    if wanted is not None and wanted not in fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has no text feature {wanted!r}: its text features are "
            f"{', '.join(sorted(fields))}"
        )
    return wanted or ("text" if "text" in fields else fields[0])


def _is_text(feature) -> bool:
    return getattr(feature, "shape", None) == () and np.dtype(feature.np_dtype).kind in "OSU"


def _prepared(builder, name: str, split: str):
    try:
        builder.download_and_prepare()
        return builder.as_dataset(split=split, shuffle_files=False)
    except Exception as error:  # Network, disk, checksum, unknown split or other.
        raise ValueError(
            f"the TFDS dataset {name!r}, split {split!r}, could not be prepared ({cause(error)}); "
            "check the split and the network connection, or use a text file instead"
        ) from error


def _strings(dataset, field: str) -> Iterator[str]:
    for document in select(dataset, field):
        yield document.decode("utf-8", errors="surrogateescape")
