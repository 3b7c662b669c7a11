"""`TextView`: formats documents for TensorBoard."""

import numpy as np

from tf_savae.core.typing import TensorLike
from tf_savae.data import pad_rows, spread
from tf_savae.tasks.text.config import TextConfig
from tf_savae.tasks.text.data import Texts

__all__ = ["TextView"]


class TextView:
    """Formats the samples and reconstructions of a run on text.

    Args:
      config: `TextConfig`, for the length of samples.
      texts: `Texts`.
    """

    unit = "document"

    def __init__(self, config: TextConfig, texts: Texts) -> None:
        self._texts = texts
        self.sampling = {"length": config.max_words + 1, "decoding": "sample"}  # </s> is a token.
        self.decoding = {**self.sampling, "decoding": "greedy"}

    def examples(self, count: int) -> np.ndarray:
        """Returns `count` evenly spaced validation documents, or all, int32 [N, T]."""
        sequences = self._texts.valid.sequences
        rows = [sequences[number] for number in spread(count, len(sequences))]
        return pad_rows(rows, len(rows), max(map(len, rows)))

    def samples(self, x: TensorLike, epoch: int) -> str:
        """Returns one document per line, numbered from 1, since a document may be empty."""
        lines = enumerate(self._lines(x), start=1)
        return _verbatim(f"{number:>3}  {line}" for number, line in lines)

    def pairs(self, x: TensorLike, rebuilt: TensorLike, epoch: int) -> str:
        """Returns each document followed by its reconstruction."""
        pairs = zip(self._lines(x), self._lines(rebuilt), strict=True)
        return _verbatim(
            line for data, model in pairs for line in (f"data   {data}", f"model  {model}", "")
        )

    def _lines(self, rows):
        return [self._texts.vocabulary.decode(row) for row in rows]


def _verbatim(lines):
    """Formats lines as a Markdown code block, since Markdown interprets <unk>, * and _.

    >>> _verbatim(["a <unk>", "b"])
    '    a <unk>\\n    b'
    """
    return "\n".join(f"    {line}" for line in lines)
