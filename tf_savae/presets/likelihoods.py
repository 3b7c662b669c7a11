"""Likelihoods of presets, and which of them an array asks for."""

from typing import Any, NamedTuple

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
_LEAST = -7.0  # Of a log scale, in units of the data's own: below it a likelihood has no bound.


class Choice(NamedTuple):
    """A likelihood for data of one kind."""

    why: str  # "zeros and ones: bernoulli"
    likelihood: Any  # what `DistributionDecoder` takes
    outputs: int  # of the network, for each number of x
    inputs: list  # layers that scale x for an encoder


def choose(x: np.ndarray) -> Choice:
    """The likelihood of an array: by its values, and for whole numbers by its type.

    Args:
      x: numbers [N, ...], checked.

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
    return Choice("real numbers: normal of learned scale", LearnedNormal(mean, scale), 2, scaled)


def _rescaling(scale, offset):
    return keras.layers.Rescaling(scale, offset)


@register
class Log1p(keras.layers.Layer):
    """log(1 + x): counts at a scale that a network can take.

    >>> float(Log1p()(tf.zeros([1]))[0])
    0.0
    """

    def call(self, x):
        return tf.math.log1p(tf.cast(x, self.compute_dtype))


class _OfParameters:
    """A likelihood that `.keras` files know: a function of a network's output with settings."""

    def get_config(self) -> Config:
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: Config):
        return cls(**config)


@register
class LearnedNormal(_OfParameters):
    """Normal numbers [B, ...] from outputs [B, ..., 2]: mean and log scale, in the data's units.

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
    """Levels 0..255 from outputs [B, ..., 2]: location and log scale, in units of half the range.

    >>> EightBit()(tf.zeros([1, 3, 2])).batch_shape.as_list()
    [1, 3]
    """

    def __call__(self, outputs: tf.Tensor) -> Distribution:
        location, log_scale = tf.unstack(outputs, axis=-1)
        half = (_LEVELS - 1) / 2
        # An eighth of the half range to begin with.
        spread = half / 8 * tf.exp(_bounded(log_scale))
        return DiscretizedLogistic(half + half * location, spread)


@register
class Rates(_OfParameters):
    """Counts from outputs [B, ...]: the logarithms of their rates.

    >>> Rates()(tf.zeros([1, 3])).mean().numpy().tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __call__(self, outputs: tf.Tensor) -> Distribution:
        # Beyond the largest count of float32's exact ones nothing is gained.
        rates = tf.clip_by_value(outputs, -16.0, 16.0)
        return tfd.Poisson(log_rate=rates)


def _bounded(log_scale):
    """Softly at least `_LEAST`."""
    return _LEAST + tf.nn.softplus(log_scale - _LEAST)


class DiscretizedLogistic(tfd.Distribution):  # type: ignore[name-defined]
    """A logistic distribution rounded to the levels 0..255 (Salimans et al. 2017).

    The lowest level has all that lies below it, the highest all above. https://arxiv.org/abs/1701.05517

    Args:
      location, scale: tensors of one shape, in levels; scale > 0.

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
        # sigmoid(high) - sigmoid(low), without a difference of two that are nearly equal.
        inside = below + above + tf.math.log(-tf.math.expm1(-1 / self._scale))
        return tf.where(x < 0.5, below, tf.where(x > _LEVELS - 1.5, above, inside))

    def _sample_n(self, n, seed=None):
        drawn = tfd.Logistic(self._location, self._scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(drawn), 0.0, float(_LEVELS - 1))

    def _mean(self):
        return tf.clip_by_value(self._location, 0.0, float(_LEVELS - 1))
