"""Splits a dataset into parts, reproducibly."""

from collections.abc import Sequence

import numpy as np

__all__ = ["split_lines", "spread"]


def split_lines(
    lines: Sequence[str], sizes: Sequence[int | float | None], *, seed: int = 0
) -> tuple[list[str], ...]:
    """Splits `lines` at random into disjoint parts, such as train, valid and test.

    Args:
        lines: the documents.
        sizes: one size per part: a count (int), a fraction of all lines in (0, 1) (float, rounded
            down), or None for all remaining lines, which is allowed for one part. Without a None,
            some lines may be unused.
        seed: the split depends on the seed and the number of lines.

    Returns:
        One list per part, each in the order of `lines`.

    Raises:
        ValueError: a size is out of range, a part would be empty, or there are too few lines.

    >>> train, valid = split_lines(["a", "b", "c", "d", "e"], (None, 2), seed=1)
    >>> len(train), len(valid)
    (3, 2)
    """
    counts = _counts(len(lines), sizes)
    order = np.random.default_rng(seed).permutation(len(lines))
    parts = np.split(order, np.cumsum(counts))[: len(counts)]
    return tuple([lines[i] for i in np.sort(part)] for part in parts)


def spread(count: int, total: int) -> np.ndarray:
    """Returns `count` row indices evenly spaced over `total` rows, or all indices if fewer.

    Evenly spaced rows are representative of files that are sorted, by class or by author.

    >>> spread(3, 10).tolist(), spread(5, 2).tolist()
    ([0, 3, 6], [0, 1])
    """
    count = min(count, total)
    return np.arange(count) * total // max(count, 1)


def _counts(total: int, sizes: Sequence[int | float | None]) -> list[int]:
    given = [None if size is None else _count(total, size) for size in sizes]
    if given.count(None) > 1:
        raise ValueError(f"sizes: expected at most one None (the rest), got {tuple(sizes)}.")
    rest = total - sum(count or 0 for count in given)
    counts = [rest if count is None else count for count in given]
    if rest < 0 or not counts or min(counts) < 1:
        raise ValueError(
            f"sizes: expected parts of at least one and together at most {total:,} lines, got "
            f"{counts} from sizes {tuple(sizes)}."
        )
    return counts


def _count(total: int, size: int | float) -> int:
    if isinstance(size, float) and 0 < size < 1:
        # Corrects rounding errors: 0.29 * 100 is slightly below 29.
        return int(total * size + 1e-9)
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    raise ValueError(
        "size: expected a positive int (a count), a float between 0 and 1 (a fraction) or None "
        f"(the rest), got {size!r}."
    )
