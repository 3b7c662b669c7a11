"""Variational families: map a nest of parameters to a TFP distribution over z [B, Z]."""

import math
from collections.abc import Callable
from typing import Self

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Distribution, Nest, TensorLike

__all__ = ["DiagonalGaussian", "Family", "FullCovarianceGaussian", "standard_normal"]

tfd = tfp.distributions


def standard_normal(latent_size: int, dtype: tf.DType = tf.float32) -> Distribution:
    """Returns the standard normal distribution N(0, I) over z [Z].

    >>> standard_normal(3).event_shape.as_list()
    [3]
    """
    loc = tf.zeros([latent_size], dtype)
    return tfd.Independent(tfd.Normal(loc, tf.ones_like(loc)), 1)


class Family:
    """Base class of variational families; subclasses implement two methods.

    These are `distribution` and `parameter_shapes`. By convention, parameters that are all zero
    give the standard normal distribution, where SVI starts.

    Attributes:
      symmetric: whether 2 mean - z is distributed as z, so that samples may come in antithetic
        pairs (`SemiAmortizedRefinement(antithetic=True)`); the distribution then has a mean.

    >>> class FixedScaleGaussian(Family):
    ...     def parameter_shapes(self, latent_size):
    ...         return [latent_size]
    ...     def distribution(self, parameters):
    ...         return tfd.Independent(tfd.Normal(parameters, tf.ones_like(parameters)), 1)
    >>> FixedScaleGaussian().distribution(tf.zeros([4, 2])).batch_shape.as_list()
    [4]
    """

    symmetric: bool = False

    def distribution(self, parameters: Nest) -> Distribution:
        """Returns q(z; parameters): batch shape [B], event shape [Z], reparameterised."""
        raise NotImplementedError

    def parameter_shapes(self, latent_size: int) -> Nest:
        """Returns a nest of the parameters' shapes for one example, each a list of ints."""
        raise NotImplementedError

    def parameter_count(self, latent_size: int) -> int:
        """Returns the number of parameters per example: the width of an encoder's output layer."""
        return sum(self._sizes(latent_size))

    def zeros(self, batch: TensorLike, latent_size: int, dtype: tf.DType = tf.float32) -> Nest:
        """Returns the parameters of N(0, I) for `batch` examples (an int or int tensor)."""
        shapes = self.parameter_shapes(latent_size)
        return _map_shapes(lambda shape: tf.zeros([batch, *shape], dtype), shapes)

    def unpack(self, tensor: tf.Tensor, latent_size: int) -> Nest:
        """Splits one tensor [B, parameter_count] into the family's nest."""
        expected = self.parameter_count(latent_size)
        if tensor.shape.rank != 2 or tensor.shape[1] != expected:
            raise ValueError(
                f"{type(self).__name__}: expected the encoder's output to have shape "
                f"[B, {expected}] for latent size {latent_size}, got {tensor.shape.as_list()}."
            )
        parts = iter(tf.split(tensor, self._sizes(latent_size), axis=1))
        shapes = self.parameter_shapes(latent_size)
        return _map_shapes(lambda shape: tf.reshape(next(parts), [-1, *shape]), shapes)

    def _sizes(self, latent_size):
        sizes, shapes = [], self.parameter_shapes(latent_size)
        _map_shapes(lambda shape: sizes.append(math.prod(shape)), shapes)
        return sizes

    def get_config(self) -> Config:
        """Returns the constructor's arguments for serialization; none by default."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Returns the family with the constructor arguments in `config`."""
        return cls(**config)


def is_shape(shapes):
    """Returns whether `shapes` is a single shape, a list of ints, and not a nest of shapes.

    >>> is_shape([3, np.int64(2)]), is_shape([[3], [2]])
    (True, False)
    """
    return isinstance(shapes, list) and all(isinstance(n, (int, np.integer)) for n in shapes)


def _map_shapes(function, shapes):
    """Applies `function` to each shape of a nest, in which a list of ints is a leaf."""
    if isinstance(shapes, dict):
        return {key: _map_shapes(function, shapes[key]) for key in sorted(shapes)}
    if is_shape(shapes):
        return function(shapes)
    return type(shapes)(_map_shapes(function, shape) for shape in shapes)


@register
class DiagonalGaussian(Family):
    """Diagonal Gaussian N(mean, diag(exp(log_variance))).

    The parameters are the pair (mean, log_variance), [B, Z] each.

    >>> q = DiagonalGaussian().distribution((tf.zeros([2, 3]), tf.zeros([2, 3])))
    >>> q.stddev().numpy()[0].tolist()
    [1.0, 1.0, 1.0]
    """

    symmetric = True

    def parameter_shapes(self, latent_size: int) -> Nest:
        return ([latent_size], [latent_size])

    def distribution(self, parameters: Nest) -> Distribution:
        mean, log_variance = _pair(parameters, "(mean [B, Z], log_variance [B, Z])")
        return tfd.Independent(tfd.Normal(mean, tf.exp(0.5 * log_variance)), 1)


@register
class FullCovarianceGaussian(Family):
    """Full-covariance Gaussian N(mean, L L').

    The parameters are the pair (mean [B, Z], scale [B, Z (Z + 1) / 2]). `scale` fills a lower
    triangular matrix (`tfp.math.fill_triangular`); L is that matrix with the exponential applied to
    its diagonal.

    >>> family = FullCovarianceGaussian()
    >>> q = family.distribution(family.zeros(2, 3))
    >>> q.covariance().numpy()[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    symmetric = True

    def parameter_shapes(self, latent_size: int) -> Nest:
        return ([latent_size], [latent_size * (latent_size + 1) // 2])

    def distribution(self, parameters: Nest) -> Distribution:
        mean, scale = _pair(parameters, "(mean [B, Z], scale [B, Z (Z + 1) / 2])")
        lower = tfp.math.fill_triangular(scale)
        diagonal = tf.exp(tf.linalg.diag_part(lower))
        return tfd.MultivariateNormalTriL(mean, tf.linalg.set_diag(lower, diagonal))


def _pair(parameters, expected):
    if isinstance(parameters, dict):
        raise ValueError(
            f"parameters: expected the pair {expected} in this order, got a dict with keys "
            f"{sorted(parameters)}, which has no defined order. Return a tuple."
        )
    parts = tf.nest.flatten(parameters)
    if len(parts) != 2 or any(p.shape.rank != 2 for p in parts):
        shapes = [p.shape.as_list() for p in parts]
        raise ValueError(f"parameters: expected {expected}, got shapes {shapes}.")
    return parts


def as_family(family: Family | Callable[..., Distribution] | None) -> Family:
    """Returns a `Family` for a Family, a function (parameters -> distribution), or None.

    >>> as_family(None).get_config()
    {}
    """
    if family is None:
        return DiagonalGaussian()
    if isinstance(family, dict):
        family = keras.saving.deserialize_keras_object(family)
    if isinstance(family, Family):
        return family
    if callable(family):
        return _FunctionFamily(family)
    raise ValueError(
        "family: expected a tf_savae Family or a function (parameters -> TFP distribution), got "
        f"{family!r}."
    )


class _FunctionFamily(Family):
    def __init__(self, function):
        self.distribution = function  # type: ignore[method-assign]  # It is the method.

    def get_config(self):
        raise ValueError(
            "family: a plain function cannot be saved; subclass tf_savae.Family, give it "
            "get_config and register it with keras.saving.register_keras_serializable."
        )
