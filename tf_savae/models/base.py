"""What both models share: one train step, one test step, compilation, metrics, guards."""

import keras
import numpy as np
import tensorflow as tf

from tf_savae.ground import checks, seeds
from tf_savae.models.compilation import resolve_jit_compile
from tf_savae.models.guards import StopOnNonFinite, WarnOfInstability

__all__ = ["BoundModel"]

_TRAIN, _EVALUATE, _CALL = 0, 1, 2  # Streams of noise derived from the model's one seed.


class BoundModel(keras.Model):
    """A keras.Model trained on a bound of log p(x); subclasses say which.

    Noise is a function of (seed, step): training resumed from a checkpoint draws what it would
    have drawn, and two evaluations of the same data agree.
    """

    def __init__(self, *, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._evaluation_step = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name="evaluation_step"
        )

    # What subclasses supply.

    def _outcome(self, x, seed, beta, training, probe):
        raise NotImplementedError

    def _generator_layers(self):
        raise NotImplementedError

    def _beta_at(self, step):
        return tf.ones([])

    # Keras' hooks.

    def compile(self, optimizer="adam", *, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`, without losses: the objective is the model's own.

        Raises:
          ValueError: a loss was given, or XLA was asked for and is impossible.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                f"loss: {type(self).__name__} brings its own objective; expected none, got "
                f"{kwargs['loss']!r}."
            )
        chosen = resolve_jit_compile(jit_compile, self._layers_to_compile())
        if kwargs.get("run_eagerly"):
            chosen = False
        super().compile(optimizer=optimizer, jit_compile=chosen, **kwargs)

    def _layers_to_compile(self):
        return [layer for layer in self.layers if isinstance(layer, keras.layers.Layer)]

    def train_step(self, data):
        """One update of all weights; one XLA program under jit_compile."""
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        step = self.optimizer.iterations
        beta = self._beta_at(step)
        seed = seeds.fold(seeds.fold(self.seed, _TRAIN), step)
        probe = tf.zeros([_batch_size(x), 2])
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(probe)
            outcome = self._outcome(x, seed, beta, True, probe)
            weights = _weights(sample_weight, outcome.loss)
            loss = tf.math.divide_no_nan(
                tf.reduce_sum(outcome.loss * weights), tf.reduce_sum(weights)
            )
            if self.losses:
                loss += tf.cast(tf.add_n(self.losses), loss.dtype)
            scaled = self.optimizer.scale_loss(loss)
        *gradients, stability = tape.gradient(scaled, [*variables, probe])
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for variable, value in outcome.statistics:
            variable.assign(value)
        self._tracked.update(outcome, weights, beta, self._tokens(x), stability)
        return self._tracked.results()

    def test_step(self, data):
        """The bound as it stands: beta as in training steps, dropout off."""
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        seed = seeds.fold(seeds.fold(self.seed, _EVALUATE), self._evaluation_step)
        self._evaluation_step.assign_add(1)
        beta = self._evaluation_beta()
        outcome = self._outcome(x, seed, beta, False, None)
        weights = _weights(sample_weight, outcome.loss)
        self._tracked.update(outcome, weights, beta, self._tokens(x))
        # The backward pass, and with it its stability, exists in training only.
        shown = set(self._tracked.trackers) - {"adjoint_growth", "curvature"}
        return self._tracked.results(shown)

    def _evaluation_beta(self):
        """Refinement descends the annealed objective, in validation during training too."""
        if self.optimizer is None:
            return tf.ones([])
        return self._beta_at(self.optimizer.iterations)

    @property
    def metrics(self):
        return list(self._tracked.trackers.values())

    def reset_metrics(self):
        super().reset_metrics()
        self._evaluation_step.assign(0)

    def fit(self, x=None, y=None, *, callbacks=None, **kwargs):
        """As `keras.Model.fit`; x are the data (y is not used). NaN in data or loss raises."""
        _check_data("x", x)
        self._check_weights()
        self._prepare_fit(x, kwargs.get("batch_size"))
        guards = [StopOnNonFinite(), WarnOfInstability(getattr(self, "refinement", None))]
        callbacks = [*guards, *keras.tree.flatten(callbacks or [])]
        return super().fit(x, y, callbacks=callbacks, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """As `keras.Model.evaluate`; x are the data."""
        _check_data("x", x)
        return super().evaluate(x, y, **kwargs)

    def _prepare_fit(self, x, batch_size):
        """Hook: what needs a batch of data before training starts."""

    def _check_weights(self):
        for variable in self.variables:
            value = keras.ops.convert_to_numpy(variable.value) if variable.value is not None else 0
            remedy = "Load a checkpoint of before they went wrong."
            checks.finite(f"weights {variable.path}", value, remedy)

    def _tokens(self, x):
        """Predicted tokens per example [B], where the decoder predicts tokens."""
        return None


def _check_data(name, data):
    for leaf in keras.tree.flatten(data):
        if isinstance(leaf, np.ndarray) or (tf.is_tensor(leaf) and hasattr(leaf, "numpy")):
            checks.finite(name, leaf)


def _batch_size(x):
    return tf.shape(tf.nest.flatten(x)[0])[0]


def _weights(sample_weight, loss):
    if sample_weight is None:
        return tf.ones_like(loss)
    weights = tf.cast(tf.convert_to_tensor(sample_weight), loss.dtype)
    if weights.shape.rank != 1:
        raise ValueError(
            "sample_weight: expected one weight per example, shape [B]; got shape "
            f"{weights.shape.as_list()}."
        )
    return weights
