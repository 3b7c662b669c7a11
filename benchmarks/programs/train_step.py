"""A model's whole train step as a pure function: every variable is an argument and a result."""

import contextlib

import keras
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer

from tf_savae.core.noise_streams import NoiseStream
from tf_savae.models import apply_if_finite, train_step
from tf_savae.models.metrics import STABILITY

__all__ = ["PureStep"]


class PureStep:
    """(state, x) -> (loss, new state): what `model.train_step` does to the variables, and no more.

    Encoder, refinement, adjoint, clipping, the optimizer's update, moving statistics, the gate for
    numbers that are not finite, and metrics. The program holds no variable, so that it can be
    lowered for a device that is not there.

    Args:
      model: a built and compiled `SemiAmortizedVAE` or `AutoregressiveModel`, without a strategy.

    Attributes:
      variables: list of the Keras variables whose values make up the state, in its order: those of
        the model, of its optimizer, of its metrics.

    Raises:
      ValueError: the model is not built or not compiled, or its optimizer scales losses.

    >>> from peers import ours
    >>> from peers.cases import CASES
    >>> model = ours.model_of(CASES["tiny_oracle"], 3)
    >>> step = PureStep(model)
    >>> state = step.state()
    >>> loss, new = step(state, tf.zeros([4, 4], tf.int32))
    >>> place = step.names.index(model.optimizer.iterations.path)
    >>> int(new[place] - state[place])
    1
    """

    def __init__(self, model):
        _check(model)
        self._model = model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        everything = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        self.variables = list({id(v): v for v in everything}.values())

    @property
    def names(self):
        """The path of each variable."""
        return [variable.path for variable in self.variables]

    def state(self):
        """The variables' values now: a list of tensors."""
        return [tf.identity(variable.value) for variable in self.variables]

    def write(self, state):
        """Gives the variables the values of a state."""
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)

    def __call__(self, state, x):
        """One step.

        Args:
          state: list of tensors, as `state()` gives.
          x: the batch.

        Returns:
          (loss scalar, state): the loss in nats before the update, and the state after it.
        """
        model, index = self._model, {id(v): i for i, v in enumerate(self.variables)}
        weights = [state[index[id(v)]] for v in model.trainable_variables]
        with self._scope(state):
            loss, gradients, probe, outcome = self._differentiate(weights, x)
            finite = apply_if_finite.all_finite(loss, gradients)
        new = self._updated(state, gradients, finite)
        with self._scope(new) as scope:
            train_step._assign(*train_step._written(outcome.effects.statistics), finite)
            ones, beta = tf.ones_like(outcome.loss), model._beta_at(self._step(state))
            model._bound_metrics.update(outcome, ones, beta, model._tokens(x), probe, finite)
            new = [scope.get_current_value(v) for v in self.variables]
        return loss, new

    def _scope(self, state):
        return keras.StatelessScope(zip(self.variables, state, strict=True))

    def _step(self, state):
        """The number of the step, as the optimizer counts."""
        count = self._model.optimizer.iterations
        return next(s for v, s in zip(self.variables, state, strict=True) if v is count)

    def _differentiate(self, weights, x):
        """Loss, gradients, the adjoint's probe and the outcome; inside a scope."""
        model = self._model
        step = tf.convert_to_tensor(model.optimizer.iterations.value)
        probe = tf.zeros([x.shape[0], len(STABILITY)], model.variable_dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weights, probe])
            noise = train_step.noise(model, NoiseStream.TRAINING, step)
            outcome = model._outcome(x, noise, model._beta_at(step), True, probe)
            loss = train_step.weighted_loss(model, outcome, tf.ones_like(outcome.loss), None)
        *gradients, probe = tape.gradient(loss, [*weights, probe])
        gradients = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
        return loss, gradients, probe, outcome

    def _updated(self, state, gradients, finite):
        """The state after the optimizer; a skipped step counts, and changes nothing else."""
        optimizer = self._model.optimizer

        def update():
            with _pure(optimizer), self._scope(state) as scope:
                pairs = zip(gradients, self._model.trainable_variables, strict=True)
                optimizer.apply_gradients(pairs)
                return [scope.get_current_value(v) for v in self.variables]

        def count():
            with self._scope(state) as scope:
                optimizer.iterations.assign_add(1)
                return [scope.get_current_value(v) for v in self.variables]

        return tf.cond(finite, update, count)


@contextlib.contextmanager
def _pure(optimizer):
    """Inside, an optimizer writes through Keras, where a scope catches it, not to TensorFlow."""
    names = ("assign", "assign_add", "assign_sub", "_apply_weight_decay", "_backend_update_step")
    # Taken here: inside a scope a variable's value is a tensor, which has no identity of its own.
    keys = {id(v): optimizer._var_key(v) for v in optimizer._trainable_variables}
    hooks = {name: getattr(BaseOptimizer, name).__get__(optimizer) for name in names}
    hooks["_var_key"] = lambda variable: keys[id(variable)]
    optimizer.__dict__.update(hooks)
    try:
        yield
    finally:
        for name in hooks:
            del optimizer.__dict__[name]


def _check(model):
    if not model.built or not model.compiled:
        raise ValueError("model: expected one that is built and compiled; compile it and call it.")
    if apply_if_finite.scales_losses(model.optimizer):
        raise ValueError("optimizer: expected one that does not scale losses (float16 alone does).")
