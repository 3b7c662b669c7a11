"""Show documents in TensorBoard."""

from tf_savae.data import pad_rows, spread

__all__ = ["TextView"]


class TextView:
    """How a run on text shows what its model makes.

    Args:
      config: `TextConfig`, for the length of a text.
      texts: `Texts`.
    """

    unit = "document"

    def __init__(self, config, texts):
        self._texts = texts
        self.sampling = {"length": config.max_words + 1, "decoding": "sample"}  # </s> is a token.
        self.decoding = {**self.sampling, "decoding": "greedy"}

    def examples(self, count):
        """int32 [N, T]: `count` validation documents, spread evenly over the file, or all."""
        sequences = self._texts.valid.sequences
        rows = [sequences[number] for number in spread(count, len(sequences))]
        return pad_rows(rows, len(rows), max(map(len, rows)))

    def samples(self, x, epoch):
        """One document a line, numbered from 1: some may have no word."""
        lines = enumerate(self._lines(x), start=1)
        return _verbatim(f"{number:>3}  {line}" for number, line in lines)

    def pairs(self, x, rebuilt, epoch):
        """Each document, and below it what the model made of its code."""
        pairs = zip(self._lines(x), self._lines(rebuilt), strict=True)
        return _verbatim(
            line for data, model in pairs for line in (f"data   {data}", f"model  {model}", "")
        )

    def _lines(self, rows):
        return [self._texts.vocabulary.decode(row) for row in rows]


def _verbatim(lines):
    """Lines as a block of code: Markdown would swallow <unk> and take * or _ as its own.

    >>> _verbatim(["a <unk>", "b"])
    '    a <unk>\\n    b'
    """
    return "\n".join(f"    {line}" for line in lines)
