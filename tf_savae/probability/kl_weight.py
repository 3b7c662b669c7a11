"""Schedules of the KL weight beta: functions of the training step, serialisable by Keras."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, TensorLike

__all__ = ["CyclicalKLWeight", "as_kl_weight", "linear_kl_weight"]


def linear_kl_weight(
    steps: int, start: float = 0.1, end: float = 1.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule that is linear from `start` to `end` over `steps` steps, then constant.

    A `keras.optimizers.schedules.PolynomialDecay` of power 1; Bowman et al. (2016),
    https://arxiv.org/abs/1511.06349; Kim et al. (2018) use 0.1 to 1 over 10 epochs.

    >>> float(linear_kl_weight(10, start=0.0)(5))
    0.5
    """
    steps = validation.positive_int("steps", steps)
    start = validation.positive("start", start, zero=True)
    end = validation.positive("end", end, zero=True)
    return keras.optimizers.schedules.PolynomialDecay(start, steps, end)


@register
class CyclicalKLWeight(keras.optimizers.schedules.LearningRateSchedule):
    """Cyclical KL annealing (Fu et al. 2019, https://arxiv.org/abs/1903.10145).

    `steps` training steps are divided into `cycles` equal cycles. In the first fraction `ramp` of a
    cycle the weight increases linearly from `start` to `end`, then it is constant. After the last
    cycle it stays at `end`.

    >>> weight = CyclicalKLWeight(steps=100, cycles=2, ramp=0.5)
    >>> [round(float(weight(s)), 2) for s in (0, 25, 49, 50, 200)]
    [0.0, 1.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self, steps: int, cycles: int = 4, ramp: float = 0.5, start: float = 0.0, end: float = 1.0
    ) -> None:
        self.steps = validation.positive_int("steps", steps)
        self.cycles = validation.positive_int("cycles", cycles)
        self.ramp = validation.unit_interval("ramp", ramp)
        if not self.ramp:
            raise ValueError("ramp: expected a number in (0, 1], got 0.")
        self.start = validation.positive("start", start, zero=True)
        self.end = validation.positive("end", end, zero=True)

    def __call__(self, step: TensorLike) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        length = self.steps / self.cycles
        position = tf.math.floormod(step, length) / length
        rising = self.start + (self.end - self.start) * tf.minimum(1.0, position / self.ramp)
        return tf.where(step >= self.steps, tf.cast(self.end, tf.float32), rising)

    def get_config(self) -> Config:
        """Returns the constructor's arguments for serialization."""
        names = ("steps", "cycles", "ramp", "start", "end")
        return {name: getattr(self, name) for name in names}


def as_kl_weight(beta: float | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns the KL weight as a function of the training step, for a number >= 0 or a schedule.

    >>> float(as_kl_weight(0.5)(1000))
    0.5
    """
    if callable(beta):
        return beta
    value = validation.positive("beta", beta, zero=True)
    return lambda step: tf.constant(value)
