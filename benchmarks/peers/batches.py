"""The batch of a case: random tokens or pixels, made with NumPy for all contenders."""

import numpy as np

__all__ = ["batch"]

_END = 3
_FIRST_WORD = 4


def batch(case, size=None):
    """x of `size` examples (the case's own B by default), always the same.

    Returns:
      int32 [B, T] for the oracle, int32 [B, T + 1] for text (a row is <s> w ... </s>, padded with
      zeros), float32 [B, H, W, 1] of zeros and ones for images.

    >>> from peers.cases import CASES
    >>> batch(CASES["tiny_text"]).shape
    (4, 8)
    """
    rng = np.random.default_rng(0)
    size = case.batch if size is None else size
    if case.model == "image":
        return (rng.random((size, *case.shape, 1)) < 0.3).astype(np.float32)
    if case.model == "oracle":
        return rng.integers(0, case.vocabulary, (size, case.length)).astype(np.int32)
    return _rows(case, size, rng)


def _rows(case, size, rng):
    rows = rng.integers(_FIRST_WORD, case.vocabulary, (size, case.length + 1)).astype(np.int32)
    rows[:, 0] = 2
    shortest = case.length // 2 if case.ragged else case.length
    for row, last in zip(rows, rng.integers(shortest, case.length + 1, size), strict=True):
        row[last], row[last + 1 :] = _END, 0
    return rows
