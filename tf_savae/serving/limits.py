"""`Limits`: bounds of one request, enforced by the exported program."""

import dataclasses

from tf_savae.core import validation

__all__ = ["Limits", "text_bytes"]

_BYTES_OF_A_WORD, _BYTES_OF_ANY_TEXT = 64, 4096


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one request; what exceeds them is answered with an error that names them.

    Args:
      rows: B, examples of one request, and n of `generate`.
      steps: K, refinement steps.
      samples: S of the importance-weighted likelihood.
      words: of a text, marks not counted; generated texts end there too. Also bounds its bytes:
        `text_bytes(words)`.

    Raises:
      ValueError: a bound is no positive integer.

    >>> Limits(steps=20).samples
    1000
    """

    rows: int = 256
    steps: int = 100
    samples: int = 1000
    words: int = 200

    def __post_init__(self):
        for field in dataclasses.fields(self):
            validation.positive_int(f"limits.{field.name}", getattr(self, field.name))


def text_bytes(words):
    """Bytes (UTF-8) of the longest text that is looked at where `words` words may be in it.

    Words have no length of their own, and splitting a text into words takes many times its memory.

    >>> text_bytes(12), text_bytes(200)
    (4096, 12800)
    """
    return max(_BYTES_OF_ANY_TEXT, _BYTES_OF_A_WORD * words)
