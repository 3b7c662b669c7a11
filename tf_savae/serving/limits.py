"""`Limits`: bounds on one request, enforced by the exported program."""

import dataclasses

from tf_savae.core import validation

__all__ = ["Limits", "text_bytes"]

_BYTES_OF_A_WORD, _BYTES_OF_ANY_TEXT = 64, 4096


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on one request; a request that exceeds a bound fails with an error that names it.

    Args:
      rows: maximum B, the number of examples in one request; also the maximum n of `generate`.
      steps: maximum K, the number of refinement steps.
      samples: maximum S of the importance-weighted likelihood.
      words: maximum number of words in a text, excluding special tokens; also the maximum length
        of generated texts. The maximum number of bytes is `text_bytes(words)`.

    Raises:
      ValueError: a bound is not a positive integer.

    >>> Limits(steps=20).samples
    1000
    """

    rows: int = 256
    steps: int = 100
    samples: int = 1000
    words: int = 200

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            validation.positive_int(f"limits.{field.name}", getattr(self, field.name))


def text_bytes(words: int) -> int:
    """Returns the maximum number of UTF-8 bytes of a text with at most `words` words.

    The bound is needed because words have no maximum length, and splitting a text into words needs
    many times its memory.

    >>> text_bytes(12), text_bytes(200)
    (4096, 12800)
    """
    return max(_BYTES_OF_ANY_TEXT, _BYTES_OF_A_WORD * words)
