"""Documents from Hugging Face datasets, by name."""

from collections.abc import Iterator

from tf_savae.data.hf_source import PREFIX, chosen_column, opened, parse

__all__ = ["documents"]


def documents(source: str) -> tuple[str, Iterator[str]]:
    """Opens `hf:NAME[,CONFIG][:SPLIT][@COLUMN]`; arguments and errors as `hf_source.opened`.

    SPLIT is train unless named. COLUMN is, unless named, "text", or the only one of strings.

    Returns:
      The name with split and column filled in, and the documents in the dataset's order.
    """
    name, _, split, _ = parse(source)
    split = split or "train"
    found = opened(source, split)[split]
    strings = [column for column, kind in found.features.items() if _is_text(kind)]
    column = chosen_column(source, found.features, strings, "text")
    return f"{PREFIX}{name}:{split}@{column}", (text or "" for text in found[column])


def _is_text(feature) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")
