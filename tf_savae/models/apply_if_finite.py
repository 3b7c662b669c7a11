"""Skip updates whose loss or gradients are not finite.

The update is a conditional (`tf.cond`): selecting between old and new values would copy all weights
and slots at every step, a sixth of the step time of a small model.
"""

from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tf_savae.core import private_keras
from tf_savae.models import distribution

__all__ = [
    "all_finite",
    "apply_gradients",
    "batches",
    "check_known",
    "scales_losses",
    "select",
    "usable",
]

# One for each weight; None for weights that the loss does not use.
Gradients: TypeAlias = Sequence[tf.Tensor | tf.IndexedSlices | None]
_LEAST_SCALE = 2.0**-10  # Below it, a non-finite loss is not caused by half-precision overflow.


def all_finite(loss: tf.Tensor, gradients: Gradients) -> tf.Tensor:
    """Returns whether loss, gradients and the gradients' norm are finite: a bool scalar.

    In float32, the norm of a gradient with finite entries above 1e19 overflows. Clipping by it
    would turn all weights into NaN, and the optimizer's second moments would not recover.

    Args:
      loss: scalar.
      gradients: list of tensors, IndexedSlices, or None for weights that the loss does not use.

    >>> bool(all_finite(tf.constant(1.0), [tf.constant([1.0, float("inf")]), None]))
    False
    """
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    # The sum of squares of a NaN or infinite entry is not finite: one pass over each gradient.
    squares = [_sum_of_squares(value, loss.dtype) for value in values if value is not None]
    return tf.math.is_finite(tf.add_n([loss, *squares]))


def _sum_of_squares(gradient, dtype):
    """Returns the sum of squares, a scalar of `dtype`; half precision is cast to it first."""
    wide = gradient if gradient.dtype.size >= 4 else tf.cast(gradient, tf.float32)
    return tf.cast(2.0 * tf.nn.l2_loss(wide), dtype)


def usable(
    optimizer: keras.optimizers.Optimizer, loss: tf.Tensor, gradients: Gradients
) -> tf.Tensor:
    """Returns whether a batch is used; if not, it is skipped, counted and excluded from metrics.

    If gradients overflow, an optimizer with loss scaling skips the update and halves the scale
    itself. Values that are not finite at a scale below 2**-10 are not caused by overflow. Loss
    scaling checks only the entries, so an overflow of the norm is detected only without it.

    Args:
      optimizer: a keras.optimizers.Optimizer.
      loss, gradients: as for `all_finite`; the gradients of the scaled loss.

    >>> bool(usable(keras.optimizers.SGD(), tf.constant(1.0), [tf.constant(float("inf"))]))
    False
    """
    finite = all_finite(loss, gradients)
    if not scales_losses(optimizer):
        return finite
    scale = optimizer.dynamic_scale if optimizer.built else optimizer.initial_scale
    return finite | (all_finite(loss, []) & (tf.convert_to_tensor(scale) > _LEAST_SCALE))


def select(finite: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Returns `new` if `finite` (a bool scalar), else `old`, also if `new` is NaN.

    >>> float(select(tf.constant(False), tf.constant(float("nan")), tf.constant(2.0)))
    2.0
    """
    return tf.where(finite, new, old)


def batches(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Returns the variable that counts batches; `optimizer.iterations` may count updates instead.

    >>> int(batches(keras.optimizers.SGD()).value)
    0
    """
    return private_keras.batch_counter(getattr(optimizer, "inner_optimizer", optimizer))


def check_known(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Raises ValueError unless the optimizer, if it is built, has slots for each of `variables`.

    >>> check_known(keras.optimizers.SGD(), [])
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    known = {id(v) for v in private_keras.known_variables(inner)} if inner.built else None
    missing = [v.path for v in variables if known is not None and id(v) not in known]
    if missing:
        raise ValueError(
            f"trainable: {missing[0]}{' and others' * (len(missing) > 1)} was frozen when the "
            "optimizer was built, which has no slots for it. Call compile again with a new "
            "optimizer."
        )


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Gradients,
    variables: Sequence[keras.Variable],
    finite: tf.Tensor,
) -> None:
    """Updates weights and optimizer; if not `finite`, only the optimizer's step count changes.

    Skipped steps are counted, since the order of the data, the noise and the KL weight depend on
    the step count. An optimizer with loss scaling skips updates itself.

    Args:
      optimizer: a keras.optimizers.Optimizer.
      gradients: list of tensors, IndexedSlices or None.
      variables: list of Keras variables, one for each gradient.
      finite: bool scalar; the same on every replica.
    """
    if not optimizer.built:
        with tf.init_scope():
            optimizer.build(variables)

    def update():
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.constant(True)

    def count():
        batches(optimizer).assign_add(1)
        return tf.constant(False)

    if scales_losses(optimizer):
        update()
    elif optimizer.gradient_accumulation_steps:
        # With gradient accumulation, this batch may apply the sum; it contributes zeros.
        gradients = [_nothing_unless(finite, gradient) for gradient in gradients]
        update()
    elif tf.distribute.has_strategy():
        _restored_unless(finite, update, _all_but_steps(optimizer, variables))
    else:
        tf.cond(finite, update, count)


def _nothing_unless(finite, gradient):
    """Returns the gradient, or zeros if not `finite`; None stays None."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = select(finite, gradient.values, tf.zeros_like(gradient.values))
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return select(finite, gradient, tf.zeros_like(gradient))


def _restored_unless(finite, update, variables):
    """Updates and, if not `finite`, restores the variables: replicas cannot update in a branch."""
    before = [tf.convert_to_tensor(v.value) for v in variables]
    update()
    after = [tf.convert_to_tensor(v.value) for v in variables]
    kept = [select(finite, new, old) for new, old in zip(after, before, strict=True)]
    distribution.assign(variables, kept)


def _all_but_steps(optimizer, variables):
    return [*variables, *(v for v in optimizer.variables if v is not batches(optimizer))]


def scales_losses(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether the optimizer uses loss scaling, which skips steps on overflow."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
