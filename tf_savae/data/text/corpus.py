"""`TextCorpus`: a text as token ids, with the token counts needed for perplexity."""

import dataclasses
import functools
import os
from collections.abc import Iterable

import numpy as np

from tf_savae.core.tokens import UNK
from tf_savae.data.text.lines import LineReport, read_lines
from tf_savae.data.text.vocabulary import RESERVED, Vocabulary

__all__ = ["TextCorpus", "load_corpus"]

_MARKS = 2  # <s> and </s>


@dataclasses.dataclass(frozen=True, eq=False)
class TextCorpus:
    """Documents as token ids, each `<s> w1 ... wn </s>`.

    >>> corpus = TextCorpus.encode(["the cat", "the dog"], Vocabulary(["the", "cat"]))
    >>> [row.tolist() for row in corpus.sequences]
    [[2, 4, 5, 3], [2, 4, 1, 3]]
    >>> corpus.unknown_words, corpus.predicted_tokens(), corpus.predicted_tokens(end_marks=False)
    (1, 6, 4)
    """

    sequences: tuple[np.ndarray, ...] = dataclasses.field(repr=False)  # int32 [n + 2] each
    fingerprint: str  # fingerprint of the vocabulary
    unknown_words: int  # words encoded as <unk>, including literal <unk>
    reserved_words: int  # how many of them are literal <pad>, <s> or </s>
    lines: LineReport | None = None  # the report of `read_lines`, if the lines were read by it

    @classmethod
    def encode(
        cls, lines: Iterable[str], vocabulary: Vocabulary, report: LineReport | None = None
    ) -> "TextCorpus":
        """Encodes documents whose words are separated by whitespace.

        Args:
            lines: the documents.
            vocabulary: maps words to ids.
            report: the `LineReport` of `read_lines`, for `summary`.

        Raises:
            ValueError: there are no lines.
        """
        if isinstance(lines, str):
            raise ValueError("lines: expected a sequence of lines, got one string. Pass [text].")
        lines = list(lines)
        if not lines:
            raise ValueError("lines: expected at least one line, got none.")
        sequences = tuple(np.array(vocabulary.encode(line), np.int32) for line in lines)
        unknown = sum(int(np.count_nonzero(row == UNK)) for row in sequences)
        reserved = sum(_reserved(line) for line in lines)
        return cls(sequences, vocabulary.fingerprint(), unknown, reserved, report)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 [N]: the length of each sequence, including <s> and </s>."""
        return np.array([len(row) for row in self.sequences])

    def __len__(self) -> int:
        return len(self.sequences)

    def predicted_tokens(self, *, end_marks: bool = True) -> int:
        """Returns the number of predicted tokens: all words and, by default, all `</s>`.

        `<s>` is an input and never predicted. Unknown words count, since `<unk>` is predicted like
        any other word.
        """
        return int(self.lengths.sum()) - (_MARKS - end_marks) * len(self)

    def perplexity(self, total_nll: float, *, end_marks: bool = True) -> float:
        """Returns exp(total_nll / predicted tokens), for the NLL of the whole corpus in nats.

        All perplexities reported by this package are computed here. By default `</s>` is counted,
        because the NLL includes its cost; published values that do not count `</s>` are slightly
        higher. The result is inf on overflow of float64, which can happen if training diverged.

        Raises:
            ValueError: there are no predicted tokens (only empty lines, and no end marks).
        """
        predicted = self.predicted_tokens(end_marks=end_marks)
        if not predicted:
            raise ValueError(
                "perplexity: expected at least one predicted token, got only empty lines."
            )
        with np.errstate(over="ignore"):
            return float(np.exp(total_nll / predicted))

    def summary(self) -> str:
        """Returns a one-line description of the lines and words that were read and encoded."""
        words = self.predicted_tokens(end_marks=False)
        parts = [self.lines.summary() if self.lines else f"{len(self):,} lines, {words:,} words"]
        share = self.unknown_words / max(words, 1)
        parts.append(f"{self.unknown_words:,} words ({share:.2%}) <unk>")
        if self.reserved_words:
            parts.append(f"{self.reserved_words:,} of them written as <pad>, <s> or </s>")
        return ", ".join(parts)


def load_corpus(
    source: str | os.PathLike,
    vocabulary: Vocabulary,
    *,
    max_words: int | None = 200,
    long_lines: str = "truncate",
    data_dir: str | os.PathLike | None = None,
) -> TextCorpus:
    """Reads and encodes a text: `read_lines`, then `TextCorpus.encode`.

    Arguments and errors are those of these two functions.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     print("the cat", file=file, flush=True)
    ...     corpus = load_corpus(file.name, Vocabulary(["the", "cat"]))
    >>> len(corpus), corpus.unknown_words
    (1, 0)
    """
    lines, report = read_lines(
        source, max_words=max_words, long_lines=long_lines, data_dir=data_dir
    )
    return TextCorpus.encode(lines, vocabulary, report)


def _reserved(line: str) -> int:
    # Almost no line contains a reserved token, and a substring search is faster than a split.
    if not any(token in line for token in RESERVED):
        return 0
    return sum(word in RESERVED for word in line.split())
