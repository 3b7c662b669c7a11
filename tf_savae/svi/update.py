"""Update rules `Momentum` and `NaturalGradient`, and the interface of custom rules.

A rule is any object with two pure methods on nests of per-example tensors [B, ...], with
the structure of the parameters:

    init(parameters) -> state
    update(gradient, state, parameters) -> (parameters, state)

The state is a nest of float tensors [B, ...]. `update` may take a fourth parameter `step`, the
number of the step (int32 scalar). Gradients are propagated to tensors and variables among
a rule's attributes, and to the weights of a rule that is a Keras layer; all other tensors are
constants.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Nest, TensorLike
from tf_savae.svi.per_example import clip
from tf_savae.svi.step_sizes import check_step_size, step_sizes

__all__ = ["Momentum", "NaturalGradient", "momentum_step"]


def momentum_step(
    gradient: Sequence[TensorLike],
    velocity: Sequence[TensorLike],
    parameters: Nest,
    sizes: Sequence[TensorLike],
    rates: Sequence[TensorLike],
) -> tuple[Nest, Nest]:
    """Returns the next (parameters, velocities): u = m u - g; p = p + a u, for each tensor.

    Args:
      gradient, velocity, sizes, rates: flat lists of g, u, a and m, one for each parameter tensor.
      parameters: nest of p.

    >>> momentum_step([2.0], [4.0], [tf.ones([1])], [0.5], [0.25])[0][0].numpy().tolist()
    [0.5]
    """
    velocity = [m * u - g for m, u, g in zip(rates, velocity, gradient, strict=True)]
    flat = tf.nest.flatten(parameters)
    moved = [p + a * u for p, a, u in zip(flat, sizes, velocity, strict=True)]
    return (
        tf.nest.pack_sequence_as(parameters, moved),
        tf.nest.pack_sequence_as(parameters, velocity),
    )


@register
class Momentum:
    """Gradient descent with momentum and per-example clipping: u = m u - clip(g); p = p + a u.

    The steps of Kim et al. (2018, https://arxiv.org/abs/1802.02550), algorithm 1, lines 5 to 7.

    Args:
      step_size: a float, a scalar tensor, or a nest like the parameters of floats or tensors that
        broadcast against the leaves. Tensors receive gradients.
      momentum: in [0, 1).
      clip_norm: maximum norm of each example's gradient; None for no clipping. Clipping is
        differentiated exactly.

    Raises:
      ValueError: an argument is out of its range.

    >>> rule, parameters = Momentum(step_size=0.5), [tf.ones([1, 1])]
    >>> parameters, state = rule.update([tf.ones([1, 1])], rule.init(parameters), parameters)
    >>> parameters[0].numpy().tolist()
    [[0.5]]
    """

    def __init__(
        self, step_size: Nest, momentum: float = 0.5, clip_norm: float | None = None
    ) -> None:
        self.step_size = check_step_size(step_size)
        self.momentum = validation.unit_interval("momentum", momentum, closed=False)
        self.clip_norm = validation.positive("clip_norm", clip_norm, optional=True)

    def init(self, parameters: Nest) -> Nest:
        """Returns velocities of zero.

        Raises:
          ValueError: the step sizes do not fit the parameters.
        """
        step_sizes(self.step_size, parameters)
        return tf.nest.map_structure(tf.zeros_like, parameters)

    def update(self, gradient: Nest, state: Nest, parameters: Nest) -> tuple[Nest, Nest]:
        """Returns the next (parameters, velocities)."""
        sizes = step_sizes(self.step_size, parameters)
        gradient = clip(self._direction(gradient, parameters), self.clip_norm)
        rates = [self.momentum] * len(sizes)
        return momentum_step(gradient, tf.nest.flatten(state), parameters, sizes, rates)

    def _direction(self, gradient, parameters):
        """Returns the direction of descent before clipping, a flat list."""
        del parameters
        return tf.nest.flatten(gradient)

    def get_config(self) -> Config:
        """Returns the constructor's arguments, for saved models."""
        sizes = tf.nest.map_structure(_plain_size, self.step_size)
        return {"step_size": sizes, "momentum": self.momentum, "clip_norm": self.clip_norm}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Returns the rule with the constructor arguments in `config`."""
        return cls(**config)


def _plain_size(size):
    """Returns a step size as a number, which can be saved."""
    if isinstance(size, (int, float)):
        return size
    size = getattr(size, "value", size)
    if tf.is_tensor(size) and not hasattr(size, "numpy") or np.ndim(size):
        raise ValueError(
            f"step_size: expected numbers in a rule to be saved, got {size!r}. Use "
            "svi.LearnedSteps for one step size per dimension."
        )
    return float(size)


@register
class NaturalGradient(Momentum):
    """`Momentum` on the natural gradient of a diagonal Gaussian's (mean, log-variance).

    The Fisher information of the mean is 1 / variance and that of the log-variance 1 / 2, so the
    gradient of the mean is multiplied by the variance and that of the log-variance by 2 (Amari
    1998; Hoffman et al. 2013, https://arxiv.org/abs/1206.7055). A step size is then a fraction of
    the distance to the optimum of a quadratic, whatever its curvature. Clipping is applied to the
    natural gradient.

    Raises:
      ValueError: the parameters are not a pair of tensors of one shape.

    >>> rule = NaturalGradient(step_size=0.1, momentum=0.0)
    >>> parameters = (tf.zeros([1, 1]), tf.math.log([[4.0]]))
    >>> gradient = (tf.ones([1, 1]), tf.ones([1, 1]))
    >>> moved, _ = rule.update(gradient, rule.init(parameters), parameters)
    >>> round(float(moved[0][0, 0]), 3)
    -0.4
    """

    def _direction(self, gradient, parameters):
        leaves = tf.nest.flatten(parameters)
        shapes = [leaf.shape.as_list() for leaf in leaves]
        if len(leaves) != 2 or not leaves[0].shape.is_compatible_with(leaves[1].shape):
            raise ValueError(
                "NaturalGradient: expected the parameters of a diagonal Gaussian, (mean, "
                f"log-variance) of one shape, got shapes {shapes}. Use svi.Momentum."
            )
        mean, log_variance = tf.nest.flatten(gradient)
        return [mean * tf.exp(leaves[1]), 2.0 * log_variance]
