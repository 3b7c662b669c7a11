"""A text as token ids, with the token counts that perplexity needs."""

import dataclasses
import functools
import os
from collections.abc import Iterable

import numpy as np

from tf_savae.core.tokens import UNK
from tf_savae.data.text.lines import LineReport, read_lines
from tf_savae.data.text.vocabulary import RESERVED, Vocabulary

_MARKS = 2  # <s> and </s>


@dataclasses.dataclass(frozen=True, eq=False)
class TextCorpus:
    """Documents as ids, each `<s> w1 ... wn </s>`.

    >>> corpus = TextCorpus.encode(["the cat", "the dog"], Vocabulary(["the", "cat"]))
    >>> [row.tolist() for row in corpus.sequences]
    [[2, 4, 5, 3], [2, 4, 1, 3]]
    >>> corpus.unknown_words, corpus.predicted_tokens(), corpus.predicted_tokens(end_marks=False)
    (1, 6, 4)
    """

    sequences: tuple[np.ndarray, ...] = dataclasses.field(repr=False)  # int32 [n + 2] each
    fingerprint: str  # of the vocabulary that the ids belong to
    unknown_words: int  # words that became <unk>, and literal <unk>
    reserved_words: int  # those of them that read <pad>, <s> or </s>
    lines: LineReport | None = None  # how the lines were read, if they were

    @classmethod
    def encode(
        cls, lines: Iterable[str], vocabulary: Vocabulary, report: LineReport | None = None
    ) -> "TextCorpus":
        """Encodes documents, words separated by blanks; `report` tells where they came from.

        Raises:
            ValueError: there are no lines.
        """
        if isinstance(lines, str):
            raise ValueError("lines must be a sequence of lines, got one string: pass [text]")
        lines = list(lines)
        if not lines:
            raise ValueError("a corpus needs at least one line, got none")
        sequences = tuple(np.array(vocabulary.encode(line), np.int32) for line in lines)
        unknown = sum(int(np.count_nonzero(row == UNK)) for row in sequences)
        reserved = sum(_reserved(line) for line in lines)
        return cls(sequences, vocabulary.fingerprint(), unknown, reserved, report)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64 [N]: the length of each sequence, both marks counted."""
        return np.array([len(row) for row in self.sequences])

    def __len__(self) -> int:
        return len(self.sequences)

    def predicted_tokens(self, *, end_marks: bool = True) -> int:
        """How many tokens a model predicts: every word, and every `</s>` unless told otherwise.

        `<s>` is given, never predicted. Unknown words count: `<unk>` is predicted like any other.
        """
        return int(self.lengths.sum()) - (_MARKS - end_marks) * len(self)

    def perplexity(self, total_nll: float, *, end_marks: bool = True) -> float:
        """exp(total_nll / predicted tokens), for the NLL of the whole corpus in nats.

        Every perplexity that this package reports is this one. It counts `</s>` by default, because
        the NLL includes its cost; published figures that leave it out are a little higher. It is
        inf where float64 ends, as a diverged model's may be.

        Raises:
            ValueError: there is nothing to predict (only empty lines, and no end marks).
        """
        predicted = self.predicted_tokens(end_marks=end_marks)
        if not predicted:
            raise ValueError("perplexity needs at least one predicted token, got only empty lines")
        with np.errstate(over="ignore"):
            return float(np.exp(total_nll / predicted))

    def summary(self) -> str:
        """How the text was read and what became of its words, in one line for people."""
        words = self.predicted_tokens(end_marks=False)
        parts = [self.lines.summary() if self.lines else f"{len(self):,} lines, {words:,} words"]
        share = self.unknown_words / max(words, 1)
        parts.append(f"{self.unknown_words:,} words ({share:.2%}) <unk>")
        if self.reserved_words:
            parts.append(f"{self.reserved_words:,} of them written <pad>, <s> or </s>")
        return ", ".join(parts)


def load_corpus(
    source: str | os.PathLike,
    vocabulary: Vocabulary,
    *,
    max_words: int | None = 200,
    long_lines: str = "truncate",
    data_dir: str | os.PathLike | None = None,
) -> TextCorpus:
    """`read_lines`, then `TextCorpus.encode`: arguments and errors as there.

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
    # Nearly no line holds one: the substring search spares the split.
    if not any(token in line for token in RESERVED):
        return 0
    return sum(word in RESERVED for word in line.split())
