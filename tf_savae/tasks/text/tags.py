"""Reads the user's tags for the words of a text, such as parts of speech or entities."""

import numpy as np

from tf_savae import data
from tf_savae.core.typing import PathLike

__all__ = ["read_tags"]


def read_tags(
    path: PathLike,
    text: PathLike,
    *,
    max_words: int | None = None,
    long_lines: str = "truncate",
    limit: int = 0,
) -> list[list[str]]:
    """Returns the tags of each document that a run reads from `text`.

    Args:
      path: the tag file, plain, .gz, .xz or .bz2: for each line of the text one line of tags, one
        tag per word, separated by whitespace.
      text: the text file of the run.
      max_words, long_lines: treatment of long lines, for tags as for words.
      limit: number of documents; 0: all.

    Returns:
      A list of lists of tags, one list per document.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the number of lines, or of tags in a line, differs; the message contains the
        first such line.
    """
    words, tags = (data.read_lines(p, max_words=None)[0] for p in (text, path))
    if len(words) != len(tags):
        raise ValueError(
            f"tags: expected one line of tags for each of the {len(words):,} lines with words in "
            f"{text}, got {len(tags):,} lines in {path}. Do they belong together?"
        )
    kept = []
    for number, (line, tagged) in enumerate(zip(words, tags, strict=True), start=1):
        row, own = line.split(), tagged.split()
        if len(row) != len(own):
            raise ValueError(
                f"tags: expected one tag for each of the {len(row)} words of line {number} of "
                f"{text} (lines without words not counted), got {len(own)} tags in {path}: "
                f"{' '.join(row[:5])} ... against {' '.join(own[:5])} ..."
            )
        if max_words is None or len(row) <= max_words:
            kept.append(own)
        elif long_lines == "truncate":
            kept.append(own[:max_words])
    return kept[:limit] if limit else kept


def tag_groups(tokens, tags):
    """Returns (groups [N, T], names): the index of each word's tag, or -1 for other tokens.

    Args:
      tokens: int [N, T], rows <s> w_1 ... w_n </s> <pad> ...
      tags: for each row a list of n tags.

    >>> tag_groups(np.array([[2, 7, 8, 3]]), [["N", "V"]])
    (array([[-1,  0,  1, -1]]), ['N', 'V'])
    """
    names = sorted({tag for row in tags for tag in row})
    numbers = {name: index for index, name in enumerate(names)}
    groups = np.full(np.shape(tokens), -1)
    for row, own in zip(groups, tags, strict=True):
        row[1 : len(own) + 1] = [numbers[tag] for tag in own]
    return groups, names
