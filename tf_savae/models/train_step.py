"""Train, test and predict steps on one batch."""

from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import private_keras, seeds
from tf_savae.core.noise_streams import NoiseStream
from tf_savae.core.typing import MixedIn, Nest
from tf_savae.models import apply_if_finite, distribution, keras_distribution
from tf_savae.models.metrics import STABILITY, TRAINING_ONLY
from tf_savae.models.validation.sample_weights import weights_like
from tf_savae.models.validation.streams import NO_TARGETS

__all__ = ["Steps"]


class Steps(MixedIn):
    """Mixin of `BoundModel` with the steps that Keras calls for each batch and replica."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Updates all weights once; one XLA program under jit_compile, or one per replica.

        If loss or gradient is not finite, only the step count changes.
        """
        apply_if_finite.check_known(self.optimizer, self.trainable_variables)
        part = self._part(data)
        step = tf.convert_to_tensor(apply_if_finite.batches(self.optimizer).value)
        beta = self._beta_at(step)
        loss, gradients, stability, outcome, weights, statistics = distribution.run(
            self, "train", self._differentiate, part.shard, part, step, beta
        )
        loss, gradients, statistics = distribution.total((loss, gradients, statistics))
        finite = apply_if_finite.usable(self.optimizer, loss, gradients)
        # Before the update, since a layer may set a weight that is also trained.
        _assign(self.__dict__["_written"], statistics, finite)
        apply_if_finite.apply_gradients(self.optimizer, gradients, self.trainable_variables, finite)
        self._bound_metrics.update(
            outcome,
            weights,
            beta,
            self._tokens(part.x),
            stability,
            finite,
            getattr(self, "inference_steps", None),
        )
        return self._bound_metrics.results()

    def _differentiate(self, part, step, beta):
        """Returns loss and gradients of one shard; pure, so that XLA can compile it separately."""
        seed = self._noise(NoiseStream.TRAINING, step)
        probe = tf.zeros([_batch_size(part.x), len(STABILITY)], self.variable_dtype)
        with tf.GradientTape() as tape:
            tape.watch(probe)
            outcome = self._outcome(part.x, seed, beta, True, probe)
            weights = weights_like(part.sample_weight, outcome.loss)
            loss = self._loss(outcome, weights, part.weight)
            scaled = self.optimizer.scale_loss(loss)
        *gradients, stability = tape.gradient(scaled, [*self.trainable_variables, probe])
        gradients = self._with_zeros(gradients)
        if _clips(self.optimizer):
            gradients = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
        variables, statistics = _written(outcome.effects.statistics)
        self.__dict__["_written"] = variables
        return loss, gradients, stability, outcome._replace(effects=None), weights, statistics

    def _weights_without_gradient(self):
        """Returns weights that may have no gradient in a step; Keras warns of all others."""
        return []

    def _with_zeros(self, gradients):
        optional = {id(v) for v in self._weights_without_gradient()}
        return [
            tf.zeros_like(v.value) if g is None and id(v) in optional else g
            for g, v in zip(gradients, self.trainable_variables, strict=True)
        ]

    def _loss(self, outcome, weights, weight):
        """Returns the weighted mean; on a replica, its part of the mean over the global batch."""
        weight = tf.reduce_sum(weights) if weight is None else tf.cast(weight, weights.dtype)
        loss = tf.math.divide_no_nan(tf.reduce_sum(outcome.loss * weights), weight)
        count = distribution.number()
        for extra in [*outcome.effects.losses, *private_keras.regularization_losses(self)]:
            loss += tf.cast(extra, loss.dtype) / count
        return loss

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluates the bound: beta as in the current training step, dropout off."""
        part = self._part(data)
        step = tf.convert_to_tensor(self._evaluation_step.value)
        self._evaluation_step.assign_add(1)
        beta = self._evaluation_beta()
        outcome = distribution.run(
            self, "test", self._evaluate_part, part.shard, part.x, step, beta
        )
        weights = weights_like(part.sample_weight, outcome.loss)
        self._bound_metrics.update(outcome, weights, beta, self._tokens(part.x))
        return self._bound_metrics.results(set(self._bound_metrics.trackers) - set(TRAINING_ONLY))

    def _evaluate_part(self, x, step, beta):
        seed = self._noise(NoiseStream.EVALUATION, step)
        return self._outcome(x, seed, beta, False, None)._replace(effects=None)

    def _noise(self, stream, step):
        """Returns the seed of a step; it is folded at its use, since XLA folds differently."""
        return seeds.fold(seeds.fold(self.seed, stream), step)

    def predict_step(self, data: Any) -> Nest:
        """Returns `call` on x."""
        part = self._part(data)
        answers = distribution.run(self, "predict", self._watched(self), part.shard, part.x)
        if part.shard is None:
            return answers
        return tf.nest.map_structure(lambda answer: answer[: part.rows], answers)

    def _part(self, data):
        """Returns the batch, or this replica's `Part` of it; Keras may wrap x in a tuple."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if keras_distribution.is_target(y):
            raise ValueError(f"y: {NO_TARGETS}")
        return distribution.part_of(x, sample_weight, self.variable_dtype)

    # Keras hooks.

    def _make_function(self, step_function):
        with keras_distribution.joined_by_graph(self):
            return super()._make_function(self._watched(step_function))

    def make_predict_function(self, force: bool = False) -> None:
        with keras_distribution.joined_by_graph(self):
            super().make_predict_function(force)


def _written(statistics):
    """Returns (variables, values) of new moving statistics, each variable once."""
    variables = [variable for variable, _ in statistics]
    for index, variable in enumerate(variables):
        if any(variable is other for other in variables[:index]):
            raise ValueError(  # One of the two updates would be lost.
                f"{variable.path}: a layer that sets its own weights (BatchNormalization, "
                "SpectralNormalization) is used in both encoder and decoder, or in both prepare "
                "and log_prob of the decoder; expected a separate layer in each."
            )
    return variables, [value for _, value in statistics]


def _assign(variables, sums, finite):
    """Assigns new moving statistics, averaged over replicas."""
    count = distribution.number()
    means = sums if count == 1 else [tf.cast(s / count, s.dtype) for s in sums]
    old = [tf.convert_to_tensor(v.value) for v in variables]
    news = [apply_if_finite.select(finite, new, was) for new, was in zip(means, old, strict=True)]
    distribution.assign(variables, news)


def _clips(optimizer):
    """Returns whether the optimizer clips, so that gradients of embeddings must be dense.

    Keras' norm of IndexedSlices is not the norm of the gradient, since repeated indices are not
    summed. It would also depend on how the batch is distributed to replicas.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return any(getattr(optimizer, n) for n in ("clipnorm", "clipvalue", "global_clipnorm"))


def _batch_size(x):
    return tf.shape(tf.nest.flatten(x)[0])[0]
