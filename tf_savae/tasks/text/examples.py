"""Read example texts for generate.py, and write token rows as lines."""

from absl import logging

from tf_savae import data

__all__ = ["read_examples", "to_lines"]


def read_examples(config, run):
    """The examples of config.file that the mode uses, as int32 rows [N, T] of the run's ids.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no text, or has too few lines.
    """
    settings = {name: run.configuration[name] for name in ("max_words", "long_lines")}
    lines, report = data.read_lines(config.file, **settings)
    logging.info("%s", report.summary())
    numbers = config.example_numbers(len(lines), f"lines with words of {config.file}")
    corpus = data.TextCorpus.encode([lines[i] for i in numbers], run.vocabulary)
    logging.info("used: %s", corpus.summary())
    return data.pad_rows(corpus.sequences, len(corpus), int(corpus.lengths.max()))


def to_lines(rows, vocabulary, labels=None):
    """Rows of ids [N, T] as lines: words, <unk> among them, up to the first </s>.

    Args:
      rows: int array [N, T], <s> first.
      vocabulary: the run's.
      labels: what each line begins with, before a tab; None for nothing.

    >>> to_lines([[2, 4, 1, 3, 0]], data.Vocabulary(["cat"]), ["sample 1"])
    ['sample 1\\tcat <unk>']
    """
    lines = [vocabulary.decode(row) for row in rows]
    if labels is None:
        return lines
    return [f"{label}\t{line}" for label, line in zip(labels, lines, strict=True)]
