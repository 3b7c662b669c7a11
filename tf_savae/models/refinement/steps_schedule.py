"""K as a schedule over training steps; each value is traced and compiled once."""

import contextlib

import keras

from tf_savae.core import validation
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


def as_steps(steps):
    """K as it is kept: an int, or a dict {training step: K from there on} in order of the steps.

    Raises:
      ValueError: a K or training step is no integer >= 0, or none stands at training step 0.

    >>> as_steps({1000: 5, 0: 0})
    {0: 0, 1000: 5}
    """
    if not isinstance(steps, dict):
        return validation.non_negative_int("steps", steps)
    for first, count in steps.items():
        validation.non_negative_int("steps: of a schedule, the training step", _as_int(first))
        validation.non_negative_int(f"steps: of a schedule, K from training step {first}", count)
    found = {int(first): int(count) for first, count in steps.items()}
    if 0 not in found:
        raise ValueError(
            "steps: expected a schedule {training step: K} that begins at training step 0, got "
            f"{steps!r}."
        )
    return dict(sorted(found.items()))


def _as_int(first):
    """JSON makes strings of a dict's keys."""
    return int(first) if isinstance(first, str) and first.isdigit() else first


def every(steps):
    """All values of K, in order.

    >>> every({0: 0, 1000: 5}), every(3)
    ([0, 5], [3])
    """
    return list(steps.values()) if isinstance(steps, dict) else [steps]


def last(steps):
    """K at the end, which is that of inference.

    >>> last({0: 0, 1000: 5})
    5
    """
    return every(steps)[-1]


def steps_at(steps, step):
    """K at training step `step`, counted from 0.

    >>> [steps_at({0: 0, 1000: 5}, step) for step in (999, 1000)]
    [0, 5]
    """
    if not isinstance(steps, dict):
        return steps
    return [count for first, count in steps.items() if first <= step][-1]


def check_executions(steps, steps_per_execution):
    """Raises ValueError where K would have to change within one execution of several steps.

    >>> check_executions({0: 0, 1000: 5}, 10)
    """
    if not isinstance(steps, dict):
        return
    wrong = [first for first in steps if first % steps_per_execution]
    if wrong:
        raise ValueError(
            "steps: expected a schedule that changes at multiples of steps_per_execution="
            f"{steps_per_execution}, since K is that of a whole execution; got {wrong[0]}."
        )


@contextlib.contextmanager
def training(model, step=None):
    """Context of a training step or loop; afterwards `steps_now` is K of inference again.

    Args:
      model: a `SemiAmortizedVAE`.
      step: number of the training step; None for a loop with `FollowSchedule`.
    """
    try:
        _set_steps(model, step)
        yield
    finally:
        _set_steps(model, None)


def steps_now(model):
    """K of the training step under way, or what training ends with."""
    now = model.__dict__.get("_training_steps")
    return last(model.refinement.steps) if now is None else now


def _set_steps(model, step):
    now = None if step is None else steps_at(model.refinement.steps, step)
    model.__dict__["_training_steps"] = now


class FollowSchedule(keras.callbacks.Callback):
    """Tells the model K before each training step; the optimizer's count of batches decides.

    Keras has turned the last batch's logs into numbers by then: to read the count is no wait.
    """

    def on_train_batch_begin(self, batch, logs=None):
        scheduled = isinstance(self.model.refinement.steps, dict)
        count = apply_if_finite.batches(self.model.optimizer) if scheduled else None
        _set_steps(self.model, None if count is None else int(count.numpy()))
