"""Tokenisation and detokenisation inside the exported program."""

import tensorflow as tf

from tf_savae.core.tokens import END, PAD, START, UNK
from tf_savae.data import Vocabulary
from tf_savae.data.text.vocabulary import RESERVED
from tf_savae.serving.limits import text_bytes
from tf_savae.serving.request_checks import after

__all__ = ["GraphVocabulary"]

# The whitespace characters of Python's str.split; RE2's \s only matches ASCII.
_BLANKS = (
    r"[\x{09}-\x{0d}\x{1c}-\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}]+"
)


class GraphVocabulary:
    """`Vocabulary.encode` and `Vocabulary.decode` as graph operations.

    Args:
      vocabulary: `tf_savae.data.Vocabulary`.
      most: maximum number of words in a text.

    Attributes:
      table: the lookup table; code that saves the graph must track it.

    >>> words = GraphVocabulary(Vocabulary(["the", "cat"]), most=3)
    >>> words.encode(tf.constant(["the cat", "dog"])).numpy().tolist()
    [[2, 4, 5, 3], [2, 1, 3, 0]]
    >>> words.decode(tf.constant([[2, 4, 5, 3]])).numpy().tolist()
    [b'the cat']
    """

    def __init__(self, vocabulary: Vocabulary, most: int) -> None:
        self._tokens = list(vocabulary.tokens)
        self._most = most
        known = {token: i for i, token in enumerate(self._tokens) if token not in RESERVED}
        pairs = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(known)), tf.constant(list(known.values()), tf.int32)
        )
        self.table = tf.lookup.StaticHashTable(pairs, default_value=UNK)

    def encode(self, text: tf.Tensor) -> tf.Tensor:
        """Maps strings [B] to int32 [B, T]: <s>, the words' ids, </s>, <pad> to the longest row.

        The graph raises an error if a string is not UTF-8 or has too many words or bytes.
        """
        # errors="strict" would fail as well, but its error does not name the input.
        text = self._checked(self._short_enough(text))
        text = tf.strings.strip(tf.strings.regex_replace(text, _BLANKS, " "))
        words = tf.strings.split(text, " ")
        words = tf.ragged.boolean_mask(words, words != "")
        most = tf.reduce_max(words.row_lengths())
        message = f"text: expected at most {self._most} words"
        with tf.control_dependencies([tf.debugging.Assert(most <= self._most, [message])]):
            ids = tf.ragged.map_flat_values(self.table.lookup, words)
        mark = tf.ones_like(text, tf.int32)[:, None]
        rows = tf.concat([START * mark, ids, END * mark], axis=1)
        return rows.to_tensor(PAD)

    def _short_enough(self, text):
        """Checks the byte length first: operations on a whole text make several copies of it."""
        most = text_bytes(self._most)
        message = f"text: expected at most {self._most} words in at most {most} bytes"
        return after(text, tf.reduce_all(tf.strings.length(text) <= most), message)

    def _checked(self, text):
        clean = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        return after(text, tf.reduce_all(clean == text), "text: expected UTF-8, got invalid bytes")

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Maps int32 [B, T] to strings [B]: words before the first </s>, without <s> and <pad>."""
        ended = tf.cumsum(tf.cast(ids == END, tf.int32), axis=1) > 0
        word = ~ended & (ids != PAD) & (ids != START)
        spaced = tf.constant([f" {token}" for token in self._tokens])
        parts = tf.where(word, tf.gather(spaced, ids), "")
        return tf.strings.strip(tf.strings.reduce_join(parts, axis=1))
