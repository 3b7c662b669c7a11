"""Documents from TensorFlow Datasets, by name."""

import os
import re
from collections.abc import Iterator

import numpy as np

_PREFIX = "tfds:"
_NAME = re.compile(
    r"(?P<name>\w+(?:/[\w.-]+)?(?::\d+\.[\d*]+\.[\d*]+)?)"  # imdb_reviews/plain_text:1.0.0
    r"(?::(?P<split>[^@]+))?"  # train, test[:10%]
    r"(?:@(?P<field>[\w/.-]+))?"  # title, translation/en
)


def is_tfds(source: str | os.PathLike) -> bool:
    """Whether `source` names a TFDS dataset rather than a file."""
    return isinstance(source, str) and source.startswith(_PREFIX)


def documents(source: str, data_dir: str | os.PathLike | None = None) -> tuple[str, Iterator[str]]:
    """Opens `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`.

    SPLIT is "train" unless named. FIELD is, unless named, the feature "text" if there is one, else
    the only text feature; a feature inside another is written `outer/inner`. The dataset is
    downloaded if it is not there yet.

    Returns:
        The name with split and field filled in, and the documents in the dataset's fixed order,
        one string each, with surrogate escapes for bytes that are not UTF-8.

    Raises:
        ValueError: the name is malformed, TFDS does not know it or cannot fetch it, or it has no
            such split or text feature.
    """
    match = _NAME.fullmatch(source.removeprefix(_PREFIX))
    if match is None:
        raise ValueError(
            f"cannot read the TFDS name {source!r}: expected "
            f"{_PREFIX}NAME[/CONFIG][:VERSION][:SPLIT][@FIELD], such as tfds:imdb_reviews:train"
        )
    name, split = match["name"], match["split"] or "train"
    builder = _builder(name, data_dir)
    field = _text_field(name, builder.info.features, match["field"])
    dataset = _prepared(builder, name, split)
    return f"{_PREFIX}{name}:{split}@{field}", _strings(dataset, field)


def _builder(name: str, data_dir: str | os.PathLike | None):
    # Imported here because reading plain files should not pay for it.
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # TFDS raises many kinds; the user needs the one cause
        raise ValueError(
            f"TFDS has no dataset {name!r} here ({_cause(error)}); check the name at "
            "https://www.tensorflow.org/datasets, or give a text file instead"
        ) from error


def _text_field(name: str, features, wanted: str | None) -> str:
    leaves = list(_flat(features))
    fields = [field for field, feature in leaves if _is_text(feature)]
    if not fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has no text feature: it has "
            f"{', '.join(field for field, _ in leaves)}"
        )
    # Not the first of them: a dataset prepared on disk lists its features in no fixed order.
    if wanted is None and len(fields) > 1 and "text" not in fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has several text features: name one of "
            f"{', '.join(sorted(fields))}, as in {_PREFIX}{name}@{min(fields)}"
        )
    if wanted is not None and wanted not in fields:
        raise ValueError(
            f"the TFDS dataset {name!r} has no text feature {wanted!r}: it has "
            f"{', '.join(sorted(fields))}"
        )
    return wanted or ("text" if "text" in fields else fields[0])


def _flat(features, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf of a feature dictionary with its `outer/inner` name."""
    if not hasattr(features, "items"):
        yield prefix.rstrip("/"), features
        return
    for key, feature in features.items():
        yield from _flat(feature, f"{prefix}{key}/")


def _is_text(feature) -> bool:
    return getattr(feature, "shape", None) == () and np.dtype(feature.np_dtype).kind in "OSU"


def _prepared(builder, name: str, split: str):
    try:
        builder.download_and_prepare()
        return builder.as_dataset(split=split, shuffle_files=False)
    except Exception as error:  # network, disk, checksum, unknown split: whatever stands in the way
        raise ValueError(
            f"the TFDS dataset {name!r}, split {split!r}, could not be prepared "
            f"({_cause(error)}); check the split and the network, or give a text file instead"
        ) from error


def _cause(error: Exception) -> str:
    """The first line of a foreign message: TFDS appends lists of every dataset it knows."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def _strings(dataset, field: str) -> Iterator[str]:
    def select(example):
        for key in field.split("/"):
            example = example[key]
        return example

    for document in dataset.map(select).as_numpy_iterator():
        yield document.decode("utf-8", errors="surrogateescape")
