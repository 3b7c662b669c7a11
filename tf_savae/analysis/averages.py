"""Averages of per-token values over groups of tokens, with standard errors over documents."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_savae.core.tokens import PAD

__all__ = ["Averages", "average_by", "frequency_groups", "position_groups"]


class Averages(NamedTuple):
    """Averages with one entry per group."""

    names: list  # [G]
    mean: Any  # [G]
    standard_error: Any  # [G]; NaN if all tokens of a group are in one document
    count: Any  # [G], int: number of tokens


def average_by(values: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> Averages:
    """Returns the means of `values` over the tokens of each group.

    The tokens of a document are not independent. Therefore the standard error is that of a ratio of
    sums over documents: sqrt(D / (D - 1) sum_d (s_d - m n_d)^2) / sum_d n_d. Here m is the mean,
    s_d the sum of the values and n_d the number of the group's tokens in document d, and D the
    number of documents with n_d > 0.

    Args:
      values: float [N, T].
      groups: int [N, T], from 0 to G - 1; tokens of group -1 are ignored.
      names: names of the G groups; groups without tokens are omitted from the result.

    Raises:
      ValueError: the shapes differ or are not [N, T], or all groups are empty.

    >>> found = average_by(np.array([[1.0, 3.0], [5.0, 9.0]]), np.array([[0, 0], [0, -1]]), ["all"])
    >>> found.mean.tolist(), found.count.tolist()
    ([3.0], [3])
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    if values.shape != groups.shape or values.ndim != 2:
        raise ValueError(
            "groups: expected one group for each value, both [N, T]; got shapes "
            f"{list(groups.shape)} and {list(values.shape)}."
        )
    rows = []
    for index, name in enumerate(names):
        inside = groups == index
        count = inside.sum(axis=1)
        if count.any():
            sums = np.where(inside, values, 0.0).sum(axis=1)
            rows.append((name, *_ratio(sums[count > 0], count[count > 0])))
    if not rows:
        raise ValueError("groups: expected at least one token in one of the groups, got none.")
    names, means, errors, counts = zip(*rows, strict=True)
    return Averages(list(names), np.array(means), np.array(errors), np.array(counts))


def _ratio(sums, counts):
    """Returns the mean, its standard error over documents, and the number of tokens."""
    total, documents = counts.sum(), len(counts)
    mean = sums.sum() / total
    if documents < 2:
        return mean, np.nan, total
    square = np.square(sums - mean * counts).sum() * documents / (documents - 1)
    return mean, np.sqrt(square) / total, total


def position_groups(tokens: np.ndarray, pad: int = PAD) -> tuple[np.ndarray, list[str]]:
    """Returns (groups [N, T], names): each token's position in its row, "1" for the first.

    >>> position_groups(np.array([[5, 3, 0]]))
    (array([[ 0,  1, -1]]), ['1', '2', '3'])
    """
    tokens = np.asarray(tokens)
    places = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    return np.where(tokens == pad, -1, places), [str(i + 1) for i in range(tokens.shape[1])]


def frequency_groups(tokens: np.ndarray, vocabulary_size: int) -> tuple[np.ndarray, list[str]]:
    """Returns (groups [N, T], names): the frequency rank of each word, in powers of ten.

    `Vocabulary.build` sorts words by their frequency in the training text, so id 4 is the most
    frequent word. <unk>, <s> and </s> are separate groups; <pad> is in no group.

    >>> frequency_groups(np.array([[2, 4, 13, 14, 1, 3, 0]]), 500)[0].tolist()
    [[4, 0, 0, 1, 3, 5, -1]]
    """
    tokens = np.asarray(tokens)
    bounds = [0]
    while bounds[-1] < vocabulary_size - 4:
        bounds.append(min(10 * max(bounds[-1], 1), vocabulary_size - 4))
    names = [f"ranks {a + 1:,} to {b:,}" for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    groups = np.asarray(np.searchsorted(bounds, tokens - 4, side="right") - 1)
    for token, place in {0: -1, 1: len(names), 2: len(names) + 1, 3: len(names) + 2}.items():
        groups = np.where(tokens == token, place, groups)
    return groups, [*names, "<unk>", "<s>", "</s>"]
