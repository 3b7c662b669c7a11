"""Likelihoods of presets, and their choice from the data."""

from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Distribution, TensorLike

__all__ = ["Choice", "DiscretizedLogistic", "EightBit", "LearnedNormal", "Rates", "choose"]

tfd = tfp.distributions
_LEVELS = 256
_LEAST = -7.0  # Smallest log of the relative scale; without it the likelihood is unbounded.


class Choice(NamedTuple):
    """A likelihood chosen for the data."""

    why: str  # "zeros and ones: bernoulli"
    likelihood: Any  # the likelihood argument of `DistributionDecoder`
    outputs: int  # network outputs per entry of x
    inputs: list  # layers that scale x for an encoder


def choose(x: np.ndarray) -> Choice:
    """Chooses the likelihood of an array by its values and, for integers, by its dtype.

    Args:
      x: validated numbers [N, ...].

    >>> choose(np.array([[0, 1]])).why, choose(np.array([[0, 200]], np.uint8)).why
    ('zeros and ones: bernoulli', '8-bit levels: discretized logistic')
    """
    if np.all((x == 0) | (x == 1)):
        return Choice("zeros and ones: bernoulli", "bernoulli", 1, [_rescaling(2.0, -1.0)])
    if x.dtype == np.uint8:
        half = (_LEVELS - 1) / 2
        scaled = [_rescaling(1 / half, -1.0)]
        return Choice("8-bit levels: discretized logistic", EightBit(), 2, scaled)
    if x.dtype.kind in "iu" and x.min() >= 0:
        return Choice("counts: poisson", Rates(), 1, [Log1p()])
    mean, scale = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64)) or 1.0
    scaled = [_rescaling(1 / scale, -mean / scale)]
    return Choice("real numbers: normal with learned scale", LearnedNormal(mean, scale), 2, scaled)


def _rescaling(scale, offset):
    return keras.layers.Rescaling(scale, offset)


@register
class Log1p(keras.layers.Layer):
    """Layer that computes log(1 + x), to scale counts for a network.

    >>> float(Log1p()(tf.zeros([1]))[0])
    0.0
    """

    def call(self, x):
        return tf.math.log1p(tf.cast(x, self.compute_dtype))


class _OfParameters:
    """Base class of serializable likelihoods: functions of a network's outputs with settings."""

    def get_config(self) -> Config:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return cls(**config)


@register
class LearnedNormal(_OfParameters):
    """Maps outputs [B, ..., 2] to normal distributions [B, ...].

    The outputs are mean and log scale, relative to the mean and scale of the data.

    >>> LearnedNormal(5.0, 2.0)(tf.zeros([1, 3, 2])).mean().numpy().tolist()
    [[5.0, 5.0, 5.0]]
    """

    def __init__(self, mean: float, scale: float) -> None:
        self.mean, self.scale = mean, validation.positive("scale", scale)

    def __call__(self, outputs: tf.Tensor) -> Distribution:
        location, log_scale = tf.unstack(outputs, axis=-1)
        spread = self.scale * tf.exp(_bounded(log_scale))
        return tfd.Normal(self.mean + self.scale * location, spread)


@register
class EightBit(_OfParameters):
    """Maps outputs [B, ..., 2] to discretized logistic distributions over levels 0..255, [B, ...].

    The outputs are location and log scale, relative to half of the range.

    >>> EightBit()(tf.zeros([1, 3, 2])).batch_shape.as_list()
    [1, 3]
    """

    def __call__(self, outputs: tf.Tensor) -> Distribution:
        location, log_scale = tf.unstack(outputs, axis=-1)
        half = (_LEVELS - 1) / 2
        # The initial scale is an eighth of half the range.
        spread = half / 8 * tf.exp(_bounded(log_scale))
        return DiscretizedLogistic(half + half * location, spread)


@register
class Rates(_OfParameters):
    """Maps outputs [B, ...], the log rates, to Poisson distributions over counts.

    >>> Rates()(tf.zeros([1, 3])).mean().numpy().tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __call__(self, outputs: tf.Tensor) -> Distribution:
        # Larger rates exceed the integers that float32 represents exactly.
        rates = tf.clip_by_value(outputs, -16.0, 16.0)
        return tfd.Poisson(log_rate=rates)


def _bounded(log_scale):
    """Returns log_scale with the soft lower bound `_LEAST`."""
    return _LEAST + tf.nn.softplus(log_scale - _LEAST)


class DiscretizedLogistic(tfd.Distribution):  # type: ignore[name-defined]
    """Logistic distribution discretized to the levels 0..255 (Salimans et al. 2017).

    The lowest level has all probability below it, and the highest level all probability above it.
    https://arxiv.org/abs/1701.05517

    Args:
      location, scale: tensors of the same shape, in levels; scale > 0.

    >>> levels = DiscretizedLogistic(90.0, 3.0)
    >>> round(float(tf.reduce_sum(levels.prob(tf.range(256.0)))), 4)
    1.0
    """

    def __init__(self, location: TensorLike, scale: TensorLike) -> None:
        self._location, self._scale = tf.convert_to_tensor(location), tf.convert_to_tensor(scale)
        super().__init__(
            dtype=self._location.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"location": location, "scale": scale},
            name="DiscretizedLogistic",
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "location": tfp.util.ParameterProperties(),
            "scale": tfp.util.ParameterProperties(),
        }

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.zeros([0], tf.int32)

    def _log_prob(self, x):
        low = (x - 0.5 - self._location) / self._scale
        high = (x + 0.5 - self._location) / self._scale
        below, above = tf.math.log_sigmoid(high), tf.math.log_sigmoid(-low)
        # log(sigmoid(high) - sigmoid(low)) without cancellation.
        inside = below + above + tf.math.log(-tf.math.expm1(-1 / self._scale))
        return tf.where(x < 0.5, below, tf.where(x > _LEVELS - 1.5, above, inside))

    def _sample_n(self, n, seed=None):
        drawn = tfd.Logistic(self._location, self._scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(drawn), 0.0, float(_LEVELS - 1))

    def _mean(self):
        return tf.clip_by_value(self._location, 0.0, float(_LEVELS - 1))
