"""Priors p(z): the base class, and the standard normal distribution."""

from typing import Any

import keras
import tensorflow_probability as tfp

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.settings import ChecksSettings
from tf_savae.core.typing import Config, Distribution, TensorLike
from tf_savae.probability import standard_normal

__all__ = ["Prior", "StandardNormalPrior"]

tfd = tfp.distributions


class Prior(keras.layers.Layer):
    """Base class of priors p(z); subclasses implement `distribution()`.

    Weights added in `build` are trained with the decoder's. Under mixed precision policies they
    keep full precision, as z does.

    >>> import tensorflow as tf
    >>> class ShiftedPrior(Prior):
    ...     def build(self, shape=None):
    ...         self.shift = self.add_weight(shape=(2,), initializer="zeros", name="shift")
    ...         self.built = True
    ...     def distribution(self):
    ...         return tfd.Independent(tfd.Normal(tf.convert_to_tensor(self.shift), 1.0), 1)
    >>> prior = ShiftedPrior()
    >>> prior(None).event_shape.as_list()
    [2]
    """

    def distribution(self) -> Distribution:
        """Returns a TFP distribution with event shape [Z] and no batch shape."""
        raise NotImplementedError

    def add_weight(self, *args: Any, autocast: bool = False, **kwargs: Any) -> Any:
        """As `keras.layers.Layer.add_weight`; by default the weight is not autocast."""
        return super().add_weight(*args, autocast=autocast, **kwargs)

    def build(self, shape: TensorLike = None) -> None:
        self.built = True

    def call(self, inputs: Any = None) -> Distribution:
        return self.distribution()


@register
class StandardNormalPrior(ChecksSettings, Prior):
    """The standard normal prior N(0, I) in `latent_size` dimensions.

    >>> StandardNormalPrior(3)(None).event_shape.as_list()
    [3]
    """

    def __init__(self, latent_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.latent_size = validation.positive_int("latent_size", latent_size)

    def distribution(self) -> Distribution:
        # Under mixed precision, z has the dtype of the variables.
        return standard_normal(self.latent_size, self.variable_dtype)

    def get_config(self) -> Config:
        return {**super().get_config(), "latent_size": self.latent_size}
