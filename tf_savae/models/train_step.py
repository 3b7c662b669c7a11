"""Train, test and predict steps on one batch."""

from typing import Any, NoReturn

import keras
import tensorflow as tf

from tf_savae.core import private_keras, seeds
from tf_savae.core.noise_streams import NoiseStream
from tf_savae.core.typing import Nest
from tf_savae.models import apply_if_finite, distribution, keras_distribution
from tf_savae.models.compilation import trace_cache
from tf_savae.models.metrics import STABILITY, TRAINING_ONLY
from tf_savae.models.validation.sample_weights import weights_like
from tf_savae.models.validation.streams import NO_TARGETS
from tf_savae.objectives import Outcome

__all__ = ["compute_loss", "noise", "predict_step", "test_step", "train_step", "weighted_loss"]


def train_step(model: Any, data: Any) -> dict[str, tf.Tensor]:
    """Updates all weights once; one XLA program under jit_compile, or one per replica.

    If loss or gradient is not finite, only the step count changes.
    """
    apply_if_finite.check_known(model.optimizer, model.trainable_variables)
    part = _part(model, data)
    step = tf.convert_to_tensor(apply_if_finite.batches(model.optimizer).value)
    beta = model._beta_at(step)
    loss, gradients, stability, outcome, weights, statistics = distribution.run(
        model, "train", _differentiate, part.shard, part, step, beta
    )
    loss, gradients, statistics = distribution.total((loss, gradients, statistics))
    finite = apply_if_finite.usable(model.optimizer, loss, gradients)
    # Before the update, since a layer may set a weight that is also trained.
    _assign(model.__dict__["_written"], statistics, finite)
    apply_if_finite.apply_gradients(model.optimizer, gradients, model.trainable_variables, finite)
    model._bound_metrics.update(
        outcome,
        weights,
        beta,
        model._tokens(part.x),
        stability,
        finite,
        getattr(model, "inference_steps", None),
    )
    return model._bound_metrics.results()


def _differentiate(model, part, step, beta):
    """Returns loss and gradients of one shard; pure, so that XLA can compile it separately."""
    seed = noise(model, NoiseStream.TRAINING, step)
    probe = tf.zeros([_batch_size(part.x), len(STABILITY)], model.variable_dtype)
    with tf.GradientTape() as tape:
        tape.watch(probe)
        outcome = model._outcome(part.x, seed, beta, True, probe)
        weights = weights_like(part.sample_weight, outcome.loss)
        loss = weighted_loss(model, outcome, weights, part.weight)
        scaled = model.optimizer.scale_loss(loss)
    *gradients, stability = tape.gradient(scaled, [*model.trainable_variables, probe])
    gradients = _with_zeros(model, gradients)
    if _clips(model.optimizer):
        gradients = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
    variables, statistics = _written(outcome.effects.statistics)
    model.__dict__["_written"] = variables
    return loss, gradients, stability, outcome._replace(effects=None), weights, statistics


def _with_zeros(model, gradients):
    """Replaces None by zeros for weights that may have no gradient; Keras warns of all others."""
    optional = {id(v) for v in model._weights_without_gradient()}
    return [
        tf.zeros_like(v.value) if g is None and id(v) in optional else g
        for g, v in zip(gradients, model.trainable_variables, strict=True)
    ]


def weighted_loss(
    model: Any, outcome: Outcome, weights: tf.Tensor, weight: tf.Tensor | None
) -> tf.Tensor:
    """Returns the weighted mean; on a replica, its part of the mean over the global batch."""
    weight = tf.reduce_sum(weights) if weight is None else tf.cast(weight, weights.dtype)
    loss = tf.math.divide_no_nan(tf.reduce_sum(outcome.loss * weights), weight)
    count = distribution.number()
    for extra in [*outcome.effects.losses, *private_keras.regularization_losses(model)]:
        loss += tf.cast(extra, loss.dtype) / count
    return loss


def test_step(model: Any, data: Any) -> dict[str, tf.Tensor]:
    """Evaluates the bound: beta as in the current training step, dropout off."""
    part = _part(model, data)
    step = tf.convert_to_tensor(model._evaluation_step.value)
    model._evaluation_step.assign_add(1)
    beta = model._evaluation_beta()
    outcome = distribution.run(model, "test", _evaluate_part, part.shard, part.x, step, beta)
    weights = weights_like(part.sample_weight, outcome.loss)
    model._bound_metrics.update(outcome, weights, beta, model._tokens(part.x))
    return model._bound_metrics.results(set(model._bound_metrics.trackers) - set(TRAINING_ONLY))


def _evaluate_part(model, x, step, beta):
    seed = noise(model, NoiseStream.EVALUATION, step)
    return model._outcome(x, seed, beta, False, None)._replace(effects=None)


def noise(model: Any, stream: int, step: tf.Tensor) -> tf.Tensor:
    """Returns the seed of a step; it is folded at its use, since XLA folds differently."""
    return seeds.fold(seeds.fold(model.seed, stream), step)


def predict_step(model: Any, data: Any) -> Nest:
    """Returns `call` on x."""
    part = _part(model, data)
    answers = distribution.run(model, "predict", _call, part.shard, part.x)
    if part.shard is None:
        return answers
    return tf.nest.map_structure(lambda answer: answer[: part.rows], answers)


def _call(model, x):
    return trace_cache.watched(model, model)(x)


def compute_loss(model: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError: the objective is not a function of outputs and targets."""
    raise NotImplementedError(
        f"compute_loss: {type(model).__name__} computes its objective in train_step and test_step, "
        "from x alone. Use evaluate or test_on_batch, or negative_elbo or log_likelihood for each "
        "example."
    )


def _part(model, data):
    """Returns the batch, or this replica's `Part` of it; Keras may wrap x in a tuple."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if keras_distribution.is_target(y):
        raise ValueError(f"y: {NO_TARGETS}")
    return distribution.part_of(x, sample_weight, model.variable_dtype)


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
