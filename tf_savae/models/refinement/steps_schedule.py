"""Schedules of K over training steps; each value of K is traced and compiled once."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tf_savae.core import validation
from tf_savae.core.typing import Steps
from tf_savae.models import apply_if_finite

__all__ = [
    "FollowSchedule",
    "as_steps",
    "check_executions",
    "every",
    "last",
    "steps_at",
    "steps_now",
    "training",
]


def as_steps(steps: Steps) -> Steps:
    """Returns K as an int or as a dict {training step: K from that step on}, sorted by step.

    Raises:
      ValueError: a K or a training step is not an integer >= 0, or a schedule has no entry for
        training step 0.

    >>> as_steps({1000: 5, 0: 0})
    {0: 0, 1000: 5}
    """
    if not isinstance(steps, dict):
        return validation.non_negative_int("steps", steps)
    for first, count in steps.items():
        validation.non_negative_int("steps: training step of a schedule", _as_int(first))
        validation.non_negative_int(f"steps: K from training step {first}", count)
    found = {int(first): int(count) for first, count in steps.items()}
    if 0 not in found:
        raise ValueError(
            "steps: expected a schedule {training step: K} that begins at training step 0, got "
            f"{steps!r}."
        )
    return dict(sorted(found.items()))


def _as_int(first):
    """Returns a dictionary key as an int, since JSON stores keys as strings."""
    return int(first) if isinstance(first, str) and first.isdigit() else first


def every(steps: Steps) -> list[int]:
    """Returns all values of K, in order.

    >>> every({0: 0, 1000: 5}), every(3)
    ([0, 5], [3])
    """
    return list(steps.values()) if isinstance(steps, dict) else [steps]


def last(steps: Steps) -> int:
    """Returns the last K, which is the default of inference.

    >>> last({0: 0, 1000: 5})
    5
    """
    return every(steps)[-1]


def steps_at(steps: Steps, step: int) -> int:
    """Returns K at training step `step`, counted from 0.

    >>> [steps_at({0: 0, 1000: 5}, step) for step in (999, 1000)]
    [0, 5]
    """
    if not isinstance(steps, dict):
        return steps
    return [count for first, count in steps.items() if first <= step][-1]


def check_executions(steps: Steps, steps_per_execution: int) -> None:
    """Raises ValueError if K changes within one execution of `steps_per_execution` steps.

    >>> check_executions({0: 0, 1000: 5}, 10)
    """
    if not isinstance(steps, dict):
        return
    wrong = [first for first in steps if first % steps_per_execution]
    if wrong:
        raise ValueError(
            "steps: expected a schedule that changes at multiples of "
            f"steps_per_execution={steps_per_execution}, since K is constant during an execution; "
            f"got {wrong[0]}."
        )


@contextlib.contextmanager
def training(model: Any, step: int | None = None) -> Iterator[None]:
    """Context of a training step or loop; on exit `steps_now` returns K of inference again.

    Args:
      model: a `SemiAmortizedVAE`.
      step: index of the training step; None for a loop with `FollowSchedule`.
    """
    try:
        _set_steps(model, step)
        yield
    finally:
        _set_steps(model, None)


def steps_now(model: Any) -> int:
    """Returns K of the current training step, or the last K outside of training."""
    now = model.__dict__.get("_training_steps")
    return last(model.refinement.steps) if now is None else now


def _set_steps(model, step):
    now = None if step is None else steps_at(model.refinement.steps, step)
    model.__dict__["_training_steps"] = now


class FollowSchedule(keras.callbacks.Callback):
    """Sets the model's K before each training step, from the optimizer's count of batches.

    Reading the count does not add a synchronisation: Keras has already converted the logs of the
    last batch to numbers.
    """

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        scheduled = isinstance(self.model.refinement.steps, dict)
        count = apply_if_finite.batches(self.model.optimizer) if scheduled else None
        _set_steps(self.model, None if count is None else int(count.numpy()))
