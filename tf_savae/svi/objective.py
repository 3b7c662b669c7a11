"""Per-example values and gradients of the negative ELBO."""

from collections.abc import Callable

import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.typing import NegativeElbo, Nest
from tf_savae.svi.per_example import Tensors

__all__ = ["Objective"]


class Objective:
    """A negative ELBO as a function of flat lists, validated and averaged over posterior samples.

    Args:
      negative_elbo: maps (parameters, theta, seed) to [B], in nats. A method `average` of
        (parameters, theta, seeds), if it has one, evaluates several samples together.
      parameters, theta: nests that define the two structures.
      samples: posterior samples per evaluation; each has its own seed, the values are averaged.
    """

    def __init__(
        self, negative_elbo: NegativeElbo, parameters: Nest, theta: Nest, samples: int = 1
    ) -> None:
        self._negative_elbo = negative_elbo
        self._parameters = parameters
        self._theta = theta
        self._samples = samples

    def value(self, parameters: Tensors, theta: Tensors, seed: tf.Tensor) -> tf.Tensor:
        """Returns the negative ELBO averaged over the samples, [B] nats."""
        lam = tf.nest.pack_sequence_as(self._parameters, parameters)
        theta = tf.nest.pack_sequence_as(self._theta, theta)
        if self._samples == 1:
            return self._one(lam, theta, seed)
        seeds = tf.unstack(tf.random.split(seed, self._samples), num=self._samples)
        together = getattr(self._negative_elbo, "average", None)
        if together is not None:
            return self._checked(together(lam, theta, seeds), lam)
        return tf.add_n([self._one(lam, theta, s) for s in seeds]) / self._samples

    def _one(self, lam, theta, seed):
        return self._checked(self._negative_elbo(lam, theta, seed), lam)

    def _checked(self, values, lam):
        batch = tf.nest.flatten(lam)[0].shape[0]
        return validation.per_example("negative_elbo", values, batch)

    def gradient(
        self, parameters: Tensors, theta: Tensors, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Tensors]:
        """Returns the values [B] and the gradient with respect to the parameters alone."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            values = self.value(parameters, theta, seed)
            total = tf.reduce_sum(values)
        return values, dense(tape.gradient(total, parameters), parameters)

    def full_gradient(
        self, parameters: Tensors, theta: Tensors, seed: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tuple[Tensors, Tensors]:
        """Returns the gradients of sum_b weights_b f_b: of parameters, of theta's float leaves."""
        floats = floating(theta)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*parameters, *floats])
            values = self.value(parameters, theta, seed)
            weights = tf.ones_like(values) if weights is None else tf.cast(weights, values.dtype)
            total = tf.reduce_sum(values * weights)
        sources = [*parameters, *floats]
        gradients = dense(tape.gradient(total, sources), sources)
        return gradients[: len(parameters)], gradients[len(parameters) :]


def differentiate(function: Callable[[Tensors], tf.Tensor], sources: Tensors) -> Tensors:
    """Returns the gradient of a scalar `function(sources)` as dense tensors.

    For second derivatives, differentiate the result with this function only. Inside a `tf.function`
    it uses `tf.gradients`: with two nested tapes, TensorFlow wraps each while loop of a decoder in
    functions that pass shapes as arguments. XLA then treats the weights as compile-time constants
    and recompiles whenever they change.
    """
    if not tf.executing_eagerly():
        # Copies, so that gradients do not include other uses of the same tensors.
        sources = [tf.identity(source) for source in sources]
        return dense(tf.gradients(function(sources), sources), sources)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        value = function(sources)
    return dense(tape.gradient(value, sources), sources)


def floating(tensors: Tensors) -> Tensors:
    """Returns the float tensors of a list: the leaves of theta that can have gradients."""
    return [t for t in tensors if t.dtype.is_floating]


def with_floats(theta: Tensors, weights: Tensors) -> Tensors:
    """Returns `theta` with its float leaves replaced, in order, by `weights`."""
    supply = iter(weights)
    return [next(supply) if t.dtype.is_floating else t for t in theta]


def dense(gradients: Tensors, sources: Tensors) -> Tensors:
    """Returns gradients as dense tensors; None becomes zeros.

    Gradients of embeddings are IndexedSlices, which forward accumulators do not support.
    """
    return [
        tf.zeros_like(source) if gradient is None else tf.convert_to_tensor(gradient)
        for gradient, source in zip(gradients, sources, strict=True)
    ]
