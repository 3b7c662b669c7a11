"""Split one text into parts, the same parts every time."""

from collections.abc import Sequence

import numpy as np


def split_lines(
    lines: Sequence[str], sizes: Sequence[int | float | None], *, seed: int = 0
) -> tuple[list[str], ...]:
    """Divides `lines` at random into disjoint parts, such as train, valid and test.

    Args:
        lines: the documents.
        sizes: one size a part: a count (int), a fraction of all lines in (0, 1) (float, rounded
            down), or, for one part at most, None: all lines that the others leave. Without a None,
            lines may be left over.
        seed: decides, with the number of lines, which line goes where.

    Returns:
        One list a part, each in the order of `lines`.

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
    """`count` rows spread evenly over `total`, or all: files are sorted, by class or by author.

    >>> spread(3, 10).tolist(), spread(5, 2).tolist()
    ([0, 3, 6], [0, 1])
    """
    count = min(count, total)
    return np.arange(count) * total // max(count, 1)


def _counts(total: int, sizes: Sequence[int | float | None]) -> list[int]:
    given = [None if size is None else _count(total, size) for size in sizes]
    if given.count(None) > 1:
        raise ValueError(f"at most one size may be None (the rest), got sizes {tuple(sizes)}")
    rest = total - sum(count or 0 for count in given)
    counts = [rest if count is None else count for count in given]
    if rest < 0 or not counts or min(counts) < 1:
        raise ValueError(
            f"cannot split {total:,} lines into parts of sizes {tuple(sizes)}: every part needs at "
            f"least one line and they may need {total:,} together, got {counts}"
        )
    return counts


def _count(total: int, size: int | float) -> int:
    if isinstance(size, float) and 0 < size < 1:
        # 0.1 * 30 is a little over 3 and 0.29 * 100 a little under 29: both should round as meant.
        return int(total * size + 1e-9)
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    raise ValueError(
        "a size must be a positive count (int), a fraction strictly between 0 and 1 (float), or "
        f"None, got {size!r}"
    )
