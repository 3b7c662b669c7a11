"""The paper's learning-rate schedule, a function of the validation bounds so far."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Progress", "learning_rate_rule"]

_FACTOR = 0.5


class Progress(NamedTuple):
    """The state of the learning-rate schedule after some epochs."""

    learning_rate: float  # learning rate of the next epoch
    best_epoch: int  # 1-based epoch of the lowest bound; 0 before the first
    decaying: bool  # whether the learning rate is halved after each further epoch


def learning_rate_rule(bounds: Sequence[float], start: float, decay_from_epoch: int) -> Progress:
    """Returns the `Progress` after the epochs with the given validation `bounds`.

    As in Kim et al. (2018), section 4.2, and the authors' training script: the first epoch after
    `decay_from_epoch` that does not improve the best bound starts the halving, which then
    continues at the end of every epoch. `keras.callbacks.ReduceLROnPlateau` instead halves once
    per plateau and keeps its state outside checkpoints. This rule has no state besides the history.

    Args:
      bounds: validation bound of each finished epoch, nats, lower is better.
      start: the initial learning rate.
      decay_from_epoch: 1-based; the halving starts in a later epoch.

    >>> learning_rate_rule([3.0, 2.0, 2.5, 1.9], start=1.0, decay_from_epoch=2)
    Progress(learning_rate=0.25, best_epoch=4, decaying=True)
    """
    rate, best, best_epoch, decaying = start, float("inf"), 0, False
    for epoch, bound in enumerate(bounds, start=1):
        if bound < best:
            best, best_epoch = bound, epoch
        elif epoch > decay_from_epoch:
            decaying = True
        if decaying:
            rate *= _FACTOR
    return Progress(rate, best_epoch, decaying)
