"""What an analysis does: settings of analyze.py, checked."""

import dataclasses

from tf_savae.ground import checks
from tf_savae.training.evaluate_config import SPLITS

__all__ = ["AnalyzeConfig"]


def _setting(default, text, **kwargs):
    return dataclasses.field(default=default, metadata={"help": text, **kwargs})


@dataclasses.dataclass(frozen=True)
class AnalyzeConfig:
    """Everything that decides the numbers of an analysis.

    Raises:
      ValueError: a field is out of its range; the message names it.

    >>> AnalyzeConfig(file="test.txt").max_examples
    200
    """

    file: str = _setting("", "the data: what the training command was given for this split")
    split: str = _setting(
        "test",
        "which of the run's splits the file is; it must be that one. other: any data",
        choices=SPLITS,
    )
    tags: str = _setting(
        "", "text runs: a file with one line of tags for each line of the file, one tag a word"
    )
    max_examples: int = _setting(200, "use only the first examples of the file; 0: all")
    example: int = _setting(1, "which example has its own picture, counted from 1")
    batch_size: int = _setting(0, "B; 0: that of the run")
    steps: int = _setting(-1, "K, refinement steps; -1: the run's own")
    noises: int = _setting(50, "samples of z in each ELBO along the refinement")
    seed: int = _setting(0, "of all noise; the same seed, the same numbers")

    def __post_init__(self):
        checks.choice("split", self.split, SPLITS)
        for name in ("max_examples", "batch_size"):
            checks.non_negative_int(name, getattr(self, name))
        for name in ("example", "noises"):
            checks.positive_int(name, getattr(self, name))
        if self.steps != -1:
            checks.non_negative_int("steps (-1: the run's own)", self.steps)
