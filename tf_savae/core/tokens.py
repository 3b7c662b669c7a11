"""The ids of the tokens that every vocabulary begins with.

>>> (PAD, UNK, START, END)
(0, 1, 2, 3)
"""

__all__ = ["END", "PAD", "START", "UNK"]

PAD, UNK, START, END = 0, 1, 2, 3  # <pad>, <unk>, <s>, </s>
