"""What an analysis does: settings of analyze.py, checked."""

import dataclasses

from tf_savae.ground import checks
from tf_savae.training.evaluate_config import SPLITS
from tf_savae.training.run_config import setting

__all__ = ["AnalyzeConfig"]


@dataclasses.dataclass(frozen=True)
class AnalyzeConfig:
    """Everything that decides the numbers of an analysis.

    Raises:
      ValueError: a field is out of its range; the message names it.

    >>> AnalyzeConfig(file="test.txt").max_examples
    200
    """

    file: str = setting("", "the data: what the training command was given for this split")
    split: str = setting(
        "test",
        "which of the run's splits the file is; it must be that one. other: any data",
        choices=SPLITS,
    )
    tags: str = setting(
        "", "text runs: a file with one line of tags for each line of the file, one tag a word"
    )
    max_examples: int = setting(200, "use only the first examples of the file; 0: all")
    example: int = setting(1, "which example has its own picture, counted from 1")
    batch_size: int = setting(0, "B; 0: that of the run")
    steps: int = setting(-1, "K, refinement steps; -1: the run's own")
    noises: int = setting(50, "samples of z in each ELBO along the refinement")
    seed: int = setting(0, "of all noise; the same seed, the same numbers")

    def __post_init__(self):
        checks.choice("split", self.split, SPLITS)
        for name in ("max_examples", "batch_size"):
            checks.non_negative_int(name, getattr(self, name))
        for name in ("example", "noises"):
            checks.positive_int(name, getattr(self, name))
        if self.steps != -1:
            checks.non_negative_int("steps (-1: the run's own)", self.steps)
