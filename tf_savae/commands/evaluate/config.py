"""Settings of evaluate.py and analyze.py."""

import dataclasses

from tf_savae.commands.step_samples import check_step_samples
from tf_savae.core import validation
from tf_savae.training.config import setting

__all__ = ["AnalyzeConfig", "EvaluateConfig", "FinishedRunConfig"]

_SPLITS = ("train", "valid", "test", "other")


@dataclasses.dataclass(frozen=True)
class FinishedRunConfig:
    """Settings shared by evaluate.py and analyze.py: the data of a run and its refinement.

    Raises:
      ValueError: a field is out of range; the message names it.

    >>> FinishedRunConfig(file="test.txt").split
    'test'
    """

    file: str = setting("", "data of the split, as given to the training command", group="Data")
    split: str = setting(
        "test",
        "split of the run that the file contains, which is checked; other: any data",
        choices=_SPLITS,
    )
    max_examples: int = setting(0, "number of first examples of the file to use; 0: all")
    batch_size: int = setting(0, "batch size (B); 0: as in training")
    seed: int = setting(0, "seed of all noise; equal seeds give equal numbers")
    steps: int = setting(-1, "refinement steps (K); -1: as in training")
    svi_samples: int = setting(
        0, "samples of z averaged in a refinement step (S); 0: as in training"
    )
    svi_antithetic: bool = setting(
        False, "with svi_samples: samples come in pairs of z mirrored at the mean; S must be even"
    )

    def __post_init__(self) -> None:
        validation.choice("split", self.split, _SPLITS)
        for name in ("max_examples", "batch_size"):
            validation.non_negative_int(name, getattr(self, name))
        if self.steps != -1:
            validation.non_negative_int("steps (-1: as in training)", self.steps)
        check_step_samples(self)


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(FinishedRunConfig):
    """All settings that affect the results of an evaluation.

    Raises:
      ValueError: a field is out of range; the message names it.

    >>> EvaluateConfig(file="test.txt", curve_steps="0,5").curve_steps
    (0, 5)
    """

    samples: int = setting(
        100, "samples of the importance-weighted NLL (S)", group="Bounds and likelihood"
    )
    chunk: int = setting(1, "importance samples evaluated at once; memory grows with it")
    information_samples: int = setting(4, "samples of z per example for the mutual information")
    gap_examples: int = setting(
        100,
        "number of examples, spread evenly, for the inference gap; 0: none",
        group="Inference gap",
    )
    gap_steps: int = setting(500, "steps of the search for lambda*")
    gap_step_size: float = setting(0.1, "initial step size of the search for lambda*")
    gap_noises: int = setting(100, "samples of z in each ELBO of the gap")
    curve_examples: int = setting(
        200,
        "number of examples, spread evenly, for the curve over K; 0: none",
        group="Refinement steps at test time",
    )
    curve_steps: tuple = setting((0, 1, 2, 5, 10, 20, 40), "values of K on the curve")
    curve_tolerances: tuple = setting(
        (0.1, 0.01),
        "early stopping: stop an example after a step that gains less than this, in nats",
    )
    curve_stopping_samples: int = setting(
        8, "samples of z per step with early stopping; fewer overfit their noise"
    )
    curve_noises: int = setting(50, "samples of z in each ELBO of the curve")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gap_examples", "curve_examples"):
            validation.non_negative_int(name, getattr(self, name))
        for name in (
            "samples",
            "chunk",
            "information_samples",
            "gap_steps",
            "gap_noises",
            "curve_stopping_samples",
            "curve_noises",
        ):
            validation.positive_int(name, getattr(self, name))
        validation.positive("gap_step_size", self.gap_step_size)
        steps = numbers("curve_steps", self.curve_steps, int)
        tolerances = numbers("curve_tolerances", self.curve_tolerances, float)
        object.__setattr__(self, "curve_steps", steps)
        object.__setattr__(self, "curve_tolerances", tolerances)
        for k in steps:
            validation.non_negative_int("curve_steps", k)
        for tolerance in tolerances:
            validation.positive("curve_tolerances", tolerance, zero=True)
        if self.curve_examples and not steps:
            raise ValueError("curve_steps: expected at least one K, got none.")

    def without_effect(self) -> dict[str, str]:
        """Returns {setting: why it has no effect}.

        >>> EvaluateConfig(file="test.txt", gap_examples=0).without_effect()["gap_steps"]
        'gap_examples=0'
        """
        names = [field.name for field in dataclasses.fields(self)]
        return {
            name: f"{part}_examples=0"
            for part in ("gap", "curve")
            for name in names
            if not getattr(self, f"{part}_examples") and name.startswith(f"{part}_")
            if name != f"{part}_examples"
        }


@dataclasses.dataclass(frozen=True)
class AnalyzeConfig(FinishedRunConfig):
    """All settings that affect the results of an analysis.

    Raises:
      ValueError: a field is out of range; the message names it.

    >>> AnalyzeConfig(file="test.txt").max_examples
    200
    """

    max_examples: int = setting(200, "number of first examples of the file to use; 0: all")
    tags: str = setting(
        "", "text runs: a file with one line of tags for each line of the file, one tag per word"
    )
    example: int = setting(1, "example that is plotted separately, counted from 1")
    noises: int = setting(50, "samples of z in each ELBO along the refinement")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("example", "noises"):
            validation.positive_int(name, getattr(self, name))


def numbers(name, value, kind):
    """Returns a tuple of numbers from a sequence or from comma-separated text.

    Raises:
      ValueError: a part is not a number.

    >>> numbers("steps", "1, 2", int)
    (1, 2)
    """
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(kind(part) for part in parts if str(part).strip())
    except ValueError:
        raise ValueError(f"{name}: expected comma-separated numbers, got {value!r}.") from None
