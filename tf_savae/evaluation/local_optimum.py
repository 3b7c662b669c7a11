"""Find lambda*, the optimal variational parameters of each example, by optimisation.

Local optimisation in the sense of Cremer et al. (2018, https://arxiv.org/abs/1801.03558, section
5.1): Adam on each example's own parameters, here with a step size that falls to 0 along a cosine.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.noise_streams import OptimumStream
from tf_savae.core.typing import Nest
from tf_savae.evaluation.monte_carlo import average_bound
from tf_savae.models.compilation.trace_cache import compiled_for
from tf_savae.svi.per_example import expand_like

__all__ = ["Optimisation", "Optimum"]

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8  # Adam's usual constants.


class Optimum(NamedTuple):
    """The result of `Optimisation` for one batch."""

    parameters: Any  # the family's nest of tensors [B, ...]
    negative_elbo: Any  # [B], nats, with the noise of the comparisons
    history: Any  # [checks + 1, B]: the lowest negative ELBO so far at each comparison


class Optimisation:
    """Finds lambda* of each example in a batch; compiled once for each batch shape.

    Ten times during the search, the parameters are compared by the ELBO under one fixed set of
    samples (common random numbers). The best parameters of each example are kept.

    Args:
      model: a compiled `SemiAmortizedVAE`.
      steps: number of Adam steps.
      step_size: the initial step size.
      samples: samples of z in each step's gradient.
      judges: samples of z in each comparison.

    >>> import keras
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "normal")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> model.compile(jit_compile=False)
    >>> x = tf.ones([5, 3])
    >>> best = Optimisation(model, steps=20, judges=5)(
    ...     x, [model.encoded_parameters(x)], seeds.as_seed(0))
    >>> bool(tf.reduce_all(best.history[-1] <= best.history[0]))
    True
    """

    def __init__(
        self,
        model: keras.Model,
        steps: int = 500,
        step_size: float = 0.1,
        samples: int = 1,
        judges: int = 50,
    ) -> None:
        self._model = model
        self.steps = validation.positive_int("steps", steps)
        self._step_size = validation.positive("step_size", step_size)
        self._samples = validation.positive_int("samples", samples)
        self._judges = validation.positive_int("judges", judges)
        self._block = max(1, -(-self.steps // 10))
        self._run = compiled_for(model, self._some_steps)
        self._value = compiled_for(model, self._judged)

    def __call__(self, x: Nest, starts: Sequence[Nest], seed: tf.Tensor) -> Optimum:
        """Returns the `Optimum` of a batch.

        Args:
          x: the batch.
          starts: list of nests of parameters [B, ...]; each example starts at the best of them.
          seed: stateless seed [2].
        """
        best, value = starts[0], self._value(x, starts[0], seed)
        for start in starts[1:]:
            best, value = self._better(best, value, start, self._value(x, start, seed))
        parameters, history = best, [value]
        zeros = tf.nest.map_structure(tf.zeros_like, parameters)
        state = (parameters, zeros, zeros)
        for first in range(0, self.steps, self._block):
            count = min(self._block, self.steps - first)
            state = self._run(x, *state, tf.constant(first), tf.constant(first + count), seed)
            best, value = self._better(best, value, state[0], self._value(x, state[0], seed))
            history.append(value)
        return Optimum(best, value, np.stack(history))

    def _better(self, best, value, other, other_value):
        higher = other_value < value
        best = tf.nest.map_structure(
            lambda b, o: tf.where(expand_like(higher, o), o, b), best, other
        )
        return best, tf.where(higher, other_value, value)

    def _judged(self, x, parameters, seed):
        batch_objective = self._model.batch_objective(x, seed)
        noise = seeds.fold(seed, OptimumStream.COMPARISON)
        return average_bound(batch_objective, parameters, self._judges, noise)

    def _some_steps(self, x, parameters, first, second, start, end, seed):
        """Runs steps `start` to `end` of Adam (Kingma & Ba 2015); all tensors are [B, ...]."""
        batch_objective = self._model.batch_objective(x, seed)
        noise = seeds.fold(seed, OptimumStream.STEPS)

        def gradient(parameters, seed):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(parameters)
                bound = self._noisy_bound(batch_objective, parameters, seed)
            flat = tape.gradient(bound, tf.nest.flatten(parameters), unconnected_gradients="zero")
            return tf.nest.pack_sequence_as(parameters, flat)

        def body(step, parameters, first, second):
            slope = gradient(parameters, seeds.fold(noise, step))
            first, second, moved = self._adam(step, slope, first, second)
            parameters = tf.nest.map_structure(lambda p, m: p - m, parameters, moved)
            return step + 1, parameters, first, second

        loop = (start, parameters, first, second)
        answer = tf.while_loop(lambda step, *_: step < end, body, loop, parallel_iterations=1)
        return answer[1:]

    def _noisy_bound(self, batch_objective, parameters, seed):
        """Returns the negative ELBO, averaged over samples and summed over examples."""
        noises = seeds.split(seed, self._samples)
        terms = [
            batch_objective.generator.terms(parameters, batch_objective.theta, noise)
            for noise in noises
        ]
        return tf.add_n([tf.reduce_sum(term.bound) for term in terms]) / self._samples

    def _adam(self, step, slope, first, second):
        count = tf.cast(step, tf.float32) + 1.0
        rate = 0.5 * self._step_size * (1.0 + tf.cos(math.pi * (count - 1.0) / self.steps))
        rate *= tf.sqrt(1.0 - _SECOND**count) / (1.0 - _FIRST**count)

        def mean(old, new, share):
            return share * old + (1.0 - share) * new

        first = tf.nest.map_structure(lambda m, g: mean(m, g, _FIRST), first, slope)
        second = tf.nest.map_structure(lambda v, g: mean(v, g * g, _SECOND), second, slope)
        moved = tf.nest.map_structure(
            lambda m, v: tf.cast(rate, m.dtype) * m / (tf.sqrt(v) + _EPSILON), first, second
        )
        return first, second, moved
