"""Reads documents from Hugging Face datasets."""

from collections.abc import Iterator

from tf_savae.data.hf_source import PREFIX, chosen_column, opened, parse

__all__ = ["documents"]


def documents(source: str) -> tuple[str, Iterator[str]]:
    """Opens `hf:NAME[,CONFIG][:SPLIT][@COLUMN]`; the errors are those of `hf_source.opened`.

    SPLIT defaults to train. COLUMN defaults to "text" or to the only column of strings.

    Returns:
      The name including split and column, and the documents in the order of the dataset.
    """
    name, _, split, _ = parse(source)
    split = split or "train"
    found = opened(source, split)[split]
    strings = [column for column, kind in found.features.items() if _is_text(kind)]
    column = chosen_column(source, found.features, strings, "text")
    return f"{PREFIX}{name}:{split}@{column}", (text or "" for text in found[column])


def _is_text(feature) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")
