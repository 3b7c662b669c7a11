"""Update rules with trainable weights: `LearnedSteps` and `LearnedUpdate`.

They are Keras layers: their weights are trained, saved, loaded and exported with the model's other
weights.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.registration import register
from tf_savae.core.typing import Config, Nest, TensorLike
from tf_savae.svi.per_example import clip
from tf_savae.svi.update import momentum_step

__all__ = ["LearnedSteps", "LearnedUpdate"]


@register
class LearnedSteps(keras.layers.Layer):
    """`Momentum` with a learned step size and momentum for each step, tensor and dimension.

    Steps beyond `steps`, which inference may take, use the values of the last step.

    Args:
      steps: K, the number of steps with their own values.
      step_size: initial step size; the logarithms of the ratios to it are trained.
      momentum: initial momentum, in (0, 1); differences from its logit are trained.
      clip_norm: maximum norm of each example's gradient; None for no clipping.

    Raises:
      ValueError: an argument is out of its range.

    >>> rule, parameters = LearnedSteps(steps=3, step_size=0.1), [tf.zeros([2, 4])]
    >>> rule.build([(2, 4)])
    >>> moved, _ = rule.update(
    ...     [tf.ones([2, 4])], rule.init(parameters), parameters, tf.constant(0))
    >>> round(float(moved[0][0, 0]), 3)
    -0.1
    """

    def __init__(
        self,
        steps: int = 5,
        step_size: float = 0.03,
        momentum: float = 0.5,
        clip_norm: float | None = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.steps = validation.positive_int("steps", steps)
        self.step_size = validation.positive("step_size", step_size)
        self.momentum = validation.unit_interval("momentum", momentum, closed=False)
        if not self.momentum:
            raise ValueError(
                "momentum: expected a number in (0, 1), since its logit is trained; got 0."
            )
        self.clip_norm = validation.positive("clip_norm", clip_norm, optional=True)

    def build(self, parameters_shape: Nest) -> None:
        """Creates the weights.

        Args:
          parameters_shape: nest of the parameters' shapes, each (B, ...).
        """
        shapes = [(self.steps, *shape[1:]) for shape in _shapes(parameters_shape)]
        # Relative to the initial values, which weight decay then favours.
        self.log_step_sizes, self.momentum_logits = (
            [self.add_weight(s, "zeros", name=f"{name}_{i}") for i, s in enumerate(shapes)]
            for name in ("log_step_size", "momentum_logit")
        )
        self.built = True

    def init(self, parameters: Nest) -> Nest:
        """Returns velocities of zero."""
        return tf.nest.map_structure(tf.zeros_like, parameters)

    def update(
        self, gradient: Nest, state: Nest, parameters: Nest, step: TensorLike
    ) -> tuple[Nest, Nest]:
        """Returns the next (parameters, velocities), with the step sizes of this step."""
        row = tf.minimum(step, self.steps - 1)
        flat = tf.nest.flatten(parameters)
        gradient = clip(tf.nest.flatten(gradient), self.clip_norm)
        log_size = math.log(self.step_size)
        logit = math.log(self.momentum / (1.0 - self.momentum))
        sizes = [tf.exp(log_size + _row(w, row, flat[0].dtype)) for w in self.log_step_sizes]
        rates = [tf.sigmoid(logit + _row(w, row, flat[0].dtype)) for w in self.momentum_logits]
        return momentum_step(gradient, tf.nest.flatten(state), parameters, sizes, rates)

    def get_build_config(self) -> None:
        """Returns None: a rule is built with the model that it is part of."""
        return None

    def get_config(self) -> Config:
        names = ("steps", "step_size", "momentum", "clip_norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class LearnedUpdate(keras.layers.Layer):
    """A small network that maps the gradient and the parameters to the next step.

    Iterative amortized inference (Marino et al. 2018, https://arxiv.org/abs/1807.09356), one
    network for all dimensions and steps. The inputs for each latent dimension are the gradients
    (arcsinh), the parameters, for a Gaussian pair (mean, log-variance) also the standard deviation
    and the mean's natural gradient, and a state of `memory` numbers. The outputs for each parameter
    tensor are a positive step size for the (clipped) gradient and an additive update. Initially the
    rule takes gradient steps of `step_size`.

    Args:
      units: number of hidden units.
      memory: size of the state of each dimension.
      step_size: initial step size.
      move: scale of the additive updates.
      bound: entries of the gradient are clipped to [-bound, bound].
      seed: int, seed of the initial weights.

    Raises:
      ValueError: an argument is out of its range, or the parameters' tensors differ in shape.

    >>> rule, parameters = LearnedUpdate(), (tf.zeros([2, 4]), tf.zeros([2, 4]))
    >>> rule.build([(2, 4), (2, 4)])
    >>> gradient = (tf.ones([2, 4]), tf.ones([2, 4]))
    >>> moved, _ = rule.update(gradient, rule.init(parameters), parameters)
    >>> round(float(moved[0][0, 0]), 3)
    -0.03
    """

    def __init__(
        self,
        units: int = 24,
        memory: int = 8,
        step_size: float = 0.03,
        move: float = 0.05,
        bound: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = validation.positive_int("units", units)
        self.memory = validation.non_negative_int("memory", memory)
        self.step_size = validation.positive("step_size", step_size)
        self.move = validation.positive("move", move, zero=True)
        self.bound = validation.positive("bound", bound)
        self.seed = validation.non_negative_int("seed", seed)

    def build(self, parameters_shape: Nest) -> None:
        """Creates the weights.

        Args:
          parameters_shape: nest of the parameters' shapes, each (B, ...).
        """
        shapes = _shapes(parameters_shape)
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            raise ValueError(
                "LearnedUpdate: expected parameter tensors of one shape, such as (mean, "
                f"log-variance) of a diagonal Gaussian; got {shapes}. Use svi.LearnedSteps."
            )
        count = len(shapes)
        inputs = 2 * count + 2 * (count == 2) + self.memory
        glorot = keras.initializers.GlorotUniform(self.seed)
        self.hidden = self.add_weight((inputs, self.units), glorot, name="hidden")
        self.hidden_bias = self.add_weight((self.units,), "zeros", name="hidden_bias")
        # Zeros, so that the initial rule takes gradient steps of `step_size` for all inputs.
        self.steps_out = self.add_weight((self.units, 2 * count), "zeros", name="steps")
        self.steps_bias = self.add_weight((2 * count,), "zeros", name="steps_bias")
        glorot = keras.initializers.GlorotUniform(self.seed + 1)
        self.memory_out = self.add_weight((self.units, self.memory), glorot, name="memory")
        self.built = True

    def init(self, parameters: Nest) -> Nest:
        """Returns a state of zeros, [B, ..., memory]."""
        leaf = tf.nest.flatten(parameters)[0]
        return tf.tile(tf.zeros_like(leaf)[..., None], [1] * leaf.shape.rank + [self.memory])

    def update(self, gradient: Nest, state: Nest, parameters: Nest) -> tuple[Nest, Nest]:
        """Returns the next (parameters, state)."""
        flat, slopes = tf.nest.flatten(parameters), tf.nest.flatten(gradient)
        dtype, count = flat[0].dtype, len(flat)
        seen = tf.concat([tf.stack(_features(slopes, flat), -1), state], -1)
        hidden = tf.tanh(_dense(seen, self.hidden, dtype) + _of(self.hidden_bias, dtype))
        outputs = _dense(hidden, self.steps_out, dtype) + _of(self.steps_bias, dtype)
        outputs = tf.unstack(outputs, num=2 * count, axis=-1)
        log_size = math.log(self.step_size)
        moved = [
            p
            - tf.exp(log_size + size) * tf.clip_by_value(g, -self.bound, self.bound)
            + self.move * move
            for p, g, size, move in zip(flat, slopes, outputs[:count], outputs[count:], strict=True)
        ]
        state = 0.5 * (state + tf.tanh(_dense(hidden, self.memory_out, dtype)))
        return tf.nest.pack_sequence_as(parameters, moved), state

    def get_build_config(self) -> None:
        """Returns None: a rule is built with the model that it is part of."""
        return None

    def get_config(self) -> Config:
        names = ("units", "memory", "step_size", "move", "bound", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _features(slopes, parameters):
    """Returns the inputs of the network for each dimension, a list of [B, ...]."""
    features = [tf.asinh(g) for g in slopes] + list(parameters)
    if len(parameters) == 2:
        deviation = tf.exp(0.5 * parameters[1])
        features += [deviation, slopes[0] * deviation**2]
    return features


def _shapes(nest):
    """Returns the shapes in a nest of shapes, each as a tuple."""
    if nest and all(n is None or isinstance(n, int) for n in nest):
        return [tuple(nest)]
    parts = nest.values() if isinstance(nest, dict) else nest
    return [shape for part in parts for shape in _shapes(part)]


def _of(variable, dtype):
    return tf.cast(tf.convert_to_tensor(variable), dtype)


def _dense(inputs, variable, dtype):
    return tf.tensordot(inputs, _of(variable, dtype), 1)


def _row(variable, row, dtype):
    return tf.gather(_of(variable, dtype), row)
