"""The ids of the special tokens, which are the first ids of every vocabulary.

>>> (PAD, UNK, START, END)
(0, 1, 2, 3)
"""

__all__ = ["END", "PAD", "START", "UNK"]

PAD, UNK, START, END = 0, 1, 2, 3  # <pad>, <unk>, <s>, </s>
