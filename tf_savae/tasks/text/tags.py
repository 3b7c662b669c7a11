"""Read a user's tags for the words of a text (part of speech, entities)."""

import numpy as np

from tf_savae import data

__all__ = ["read_tags"]


def read_tags(path, text, *, max_words=None, long_lines="truncate", limit=0):
    """The tags of each document that a run would read from `text`.

    Args:
      path: the tag file: for each line of the text a line of tags, one for each word, separated by
        blanks; .gz, .xz and .bz2 too.
      text: the text file, as the run reads it.
      max_words, long_lines: what becomes of long lines, of tags as of words.
      limit: how many documents are wanted; 0: all.

    Returns:
      A list of lists of tags, one for each document.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another number of lines, or of tags in a line; the first such line is named.
    """
    words, tags = (data.read_lines(p, max_words=None)[0] for p in (text, path))
    if len(words) != len(tags):
        raise ValueError(
            f"tags: expected one line of tags for each of the {len(words):,} lines with words in "
            f"{text}, got {len(tags):,} lines in {path}. Do they belong together?"
        )
    kept = []
    for number, (line, tagged) in enumerate(zip(words, tags, strict=True), start=1):
        line, tagged = line.split(), tagged.split()
        if len(line) != len(tagged):
            raise ValueError(
                f"tags: expected one tag for each of the {len(line)} words of line {number} of "
                f"{text} (lines without words not counted), got {len(tagged)} tags in {path}: "
                f"{' '.join(line[:5])} ... against {' '.join(tagged[:5])} ..."
            )
        if max_words is None or len(line) <= max_words:
            kept.append(tagged)
        elif long_lines == "truncate":
            kept.append(tagged[:max_words])
    return kept[:limit] if limit else kept


def tag_groups(tokens, tags):
    """(groups [N, T], names): the tag of each word; other tokens belong nowhere.

    Args:
      tokens: int [N, T], rows <s> w_1 ... w_n </s> <pad> ...
      tags: a list of n tags for each row.

    >>> tag_groups(np.array([[2, 7, 8, 3]]), [["N", "V"]])
    (array([[-1,  0,  1, -1]]), ['N', 'V'])
    """
    names = sorted({tag for row in tags for tag in row})
    numbers = {name: index for index, name in enumerate(names)}
    groups = np.full(np.shape(tokens), -1)
    for row, own in zip(groups, tags, strict=True):
        row[1 : len(own) + 1] = [numbers[tag] for tag in own]
    return groups, names
