"""`Vocabulary`: a bidirectional map between words and ids, saved next to the model."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tf_savae.core.atomic_files import write_whole
from tf_savae.core.tokens import END, PAD, START, UNK

__all__ = ["RESERVED", "SPECIALS", "Vocabulary"]

SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
# These literals in a text are read as unknown words, so that they cannot act as special tokens.
RESERVED = frozenset(SPECIALS) - {SPECIALS[UNK]}

_MAGIC = "tf_savae-vocabulary"
_FORMAT = 1


class Vocabulary:
    """An immutable bidirectional map between words and ids 0 .. V-1.

    Ids 0 to 3 are always `<pad> <unk> <s> </s>`; words start at id 4. The literal word `<unk>`,
    which preprocessed corpora contain, is id 1. Literal `<pad>`, `<s>` and `</s>` in a text are
    encoded as unknown words.

    Args:
        words: the words from id 4 on, in order, without duplicates and without whitespace.

    Raises:
        ValueError: a word is empty, contains whitespace, is repeated, or is a special token.

    >>> vocabulary = Vocabulary(["the", "cat"])
    >>> vocabulary.encode("the dog </s>")
    [2, 4, 1, 1, 3]
    >>> vocabulary.decode([2, 4, 5, 3, 0, 0])
    'the cat'
    """

    def __init__(self, words: Iterable[str]) -> None:
        if isinstance(words, str):
            raise ValueError(f"words: expected a sequence of words, got the string {words!r}.")
        self._tokens = (*SPECIALS, *words)
        _check_words(self._tokens)
        self._fingerprint = _digest(self._tokens)
        # Reserved tokens are left out, so that `encode` maps them to <unk>.
        self._ids = {t: i for i, t in enumerate(self._tokens) if t not in RESERVED}

    @classmethod
    def build(
        cls, lines: Iterable[str], *, max_size: int | None = None, min_count: int = 1
    ) -> "Vocabulary":
        """Builds the vocabulary of the most frequent words; ties are in code-point order.

        Args:
            lines: documents whose words are separated by whitespace.
            max_size: largest V, including the four special tokens; None keeps every word.
            min_count: smallest number of occurrences of a word.

        Raises:
            ValueError: `max_size` is below 5, `min_count` is below 1, or no word remains.

        >>> Vocabulary.build(["b a c", "c b <unk>"], max_size=6).tokens[4:]
        ('b', 'c')
        """
        if isinstance(lines, str):
            raise ValueError("lines: expected a sequence of lines, got one string. Pass [text].")
        _check_limits(max_size, min_count)
        counts = Counter(word for line in lines for word in line.split())
        for special in SPECIALS:
            counts.pop(special, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        room = None if max_size is None else max_size - len(SPECIALS)
        words = [word for word, count in ranked[:room] if count >= min_count]
        if not words:
            raise ValueError(
                f"lines: expected words that occur at least min_count={min_count} times, got none "
                f"among {len(counts):,} word types. Check the text or lower min_count."
            )
        return cls(words)

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens in the order of their ids, special tokens first."""
        return self._tokens

    def encode(self, line: str) -> list[int]:
        """Returns the ids of `<s>`, of the words of `line` (`<unk>` if unknown), and of `</s>`."""
        known = self._ids.get
        return [START, *(known(word, UNK) for word in line.split()), END]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the words of `ids` up to the first `</s>`, without `<s>` and `<pad>`.

        Raises:
            ValueError: an id is outside 0 .. V-1.
        """
        words = []
        for token_id in ids:
            if not 0 <= token_id < len(self):
                raise ValueError(f"id: expected 0 to {len(self) - 1}, got {token_id}.")
            if token_id == END:
                break
            if token_id not in (PAD, START):
                words.append(self._tokens[token_id])
        return " ".join(words)

    def fingerprint(self) -> str:
        """Returns the SHA-256 (64 hexadecimal digits) of the tokens in order."""
        return self._fingerprint

    def save(self, path: str | os.PathLike) -> None:
        """Writes UTF-8 text: a header line, then one token per line in the order of ids.

        The write is atomic, even if the process is killed.

        Raises:
            OSError: the folder is missing or not writable.
        """
        header = f"{_MAGIC} {_FORMAT} {len(self)} {self.fingerprint()}"
        try:
            write_whole(path, "\n".join((header, *self._tokens)) + "\n")
        except OSError as error:
            raise OSError(
                f"{path}: the vocabulary could not be written: {error}. Use a path in an existing, "
                "writable folder."
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Vocabulary":
        """Reads a file written by `save`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a vocabulary, or it was truncated, edited or damaged.
        """
        header, tokens = _read_tokens(path)
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise ValueError(
                f"{path}: expected ids 0 to 3 to be {' '.join(SPECIALS)}, got "
                f"{' '.join(tokens[: len(SPECIALS)]) or 'nothing'}. Build the vocabulary again."
            )
        try:
            vocabulary = cls(tokens[len(SPECIALS) :])
        except ValueError as error:
            raise ValueError(f"{path}: damaged vocabulary: {error}") from error
        _check_header(path, header, tokens)
        return vocabulary

    def __len__(self) -> int:
        return len(self._tokens)

    def __eq__(self, other: object) -> bool:
        return self._tokens == other._tokens if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} tokens, fingerprint {self.fingerprint()[:12]})"


def _check_limits(max_size: int | None, min_count: int) -> None:
    if max_size is not None and max_size <= len(SPECIALS):
        raise ValueError(
            f"max_size: expected at least {len(SPECIALS) + 1}, including the {len(SPECIALS)} "
            f"special tokens, got {max_size}."
        )
    if min_count < 1:
        raise ValueError(f"min_count: expected an integer >= 1, got {min_count}.")


def _check_words(tokens: Sequence[str]) -> None:
    seen: set[str] = set()
    for token_id, token in enumerate(tokens):
        if not isinstance(token, str) or token.split() != [token]:
            raise ValueError(f"id {token_id}: expected one word without whitespace, got {token!r}.")
        if token in seen:
            raise ValueError(f"id {token_id}: expected each token once, got {token!r} again.")
        seen.add(token)


def _digest(tokens: Sequence[str]) -> str:
    # Tokens contain no line ends, so different lists give different strings.
    try:
        return hashlib.sha256("\n".join(tokens).encode("utf-8")).hexdigest()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"words: expected text that can be encoded as UTF-8, got a lone surrogate ({error}). "
            "Read the text with read_lines, which replaces bad bytes."
        ) from error


def _read_tokens(path: str | os.PathLike) -> tuple[list[str], list[str]]:
    """Returns the header's fields and the tokens of a vocabulary file."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no vocabulary file at {path}: create one with Vocabulary.build(lines).save(path)"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text, so not a vocabulary: {error}") from error
    # Not splitlines, which also splits at characters that may be part of a token.
    header, *tokens = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    fields = header.split(" ")
    if fields[0] != _MAGIC or len(fields) != 4:
        raise ValueError(
            f"{path}: expected a vocabulary, whose first line is '{_MAGIC} {_FORMAT} SIZE SHA256', "
            f"got {header[:80]!r}. For your own word list use Vocabulary(words).save(path)"
        )
    if fields[1] != str(_FORMAT):
        raise ValueError(
            f"{path}: expected vocabulary format {_FORMAT}, got format {fields[1]}, which this "
            "version cannot read."
        )
    return fields, tokens


def _check_header(path: str | os.PathLike, header: list[str], tokens: list[str]) -> None:
    if header[2] != str(len(tokens)):
        raise ValueError(
            f"{path}: damaged vocabulary: expected {header[2]} tokens, as stated in its header, "
            f"got {len(tokens)}. Restore it or build it again."
        )
    if header[3] != _digest(tokens):
        raise ValueError(
            f"{path}: damaged vocabulary: its tokens do not match the SHA-256 in its header. "
            "Restore it or build it again."
        )
