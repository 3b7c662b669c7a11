"""What an analysis does: settings of analyze.py, checked."""

import dataclasses

from tf_savae.core import validation
from tf_savae.training.evaluate_config import FinishedRunConfig
from tf_savae.training.run_config import setting

__all__ = ["AnalyzeConfig"]


@dataclasses.dataclass(frozen=True)
class AnalyzeConfig(FinishedRunConfig):
    """Everything that decides the numbers of an analysis.

    Raises:
      ValueError: a field is out of its range; the message names it.

    >>> AnalyzeConfig(file="test.txt").max_examples
    200
    """

    max_examples: int = setting(200, "use only the first examples of the file; 0: all")
    tags: str = setting(
        "", "text runs: a file with one line of tags for each line of the file, one tag a word"
    )
    example: int = setting(1, "which example has its own picture, counted from 1")
    noises: int = setting(50, "samples of z in each ELBO along the refinement")

    def __post_init__(self):
        super().__post_init__()
        for name in ("example", "noises"):
            validation.positive_int(name, getattr(self, name))
