"""The cases by name; nothing but Python, so that a machine without TensorFlow knows them too."""

from peers import cases, floor

__all__ = ["CASES", "PRECISIONS", "case_of", "counted_flops"]

CASES = {
    **cases.CASES,
    # The paper's text: Yahoo, documents of up to 200 words; 80 is what its average comes to.
    "text_paper": cases.CASES["text_paper"]._replace(length=80),
}
# What numbers are multiplied in; what is stored and added up is float32 in all of them.
PRECISIONS = ("float32", "tf32", "bfloat16")


def case_of(name):
    """The case of a name.

    Raises:
      ValueError: there is none.

    >>> case_of("text_paper").vocabulary
    20001
    """
    if name not in CASES:
        raise ValueError(f"case: expected one of {', '.join(CASES)}, got {name!r}.")
    return CASES[name]


def counted_flops(name, steps):
    """FLOPs that a train step cannot do without; `peers.floor` says what is counted.

    >>> counted_flops("tiny_oracle", 0) < counted_flops("tiny_oracle", 3)
    True
    """
    return floor.counted_flops(case_of(name), steps)
