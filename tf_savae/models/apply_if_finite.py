"""Skip updates whose loss or gradients are not finite.

The update is the one part of a train step that is a branch: selecting between old and new values
would copy all weights and slots at every step, a sixth of a small model's time.
"""

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

_LEAST_SCALE = 2.0**-10  # A loss that overflows with less is not too large for half precision.


def all_finite(loss, gradients):
    """Whether loss, gradients and the gradients' norm are finite: a bool scalar.

    A gradient of finite entries above 1e19 has a norm that is not, in float32: clipping by it
    makes NaN of all weights, and an optimizer's second moment is lost for good.

    Args:
      loss: scalar.
      gradients: list of tensors, IndexedSlices, or None where a weight has no part in the loss.

    >>> bool(all_finite(tf.constant(1.0), [tf.constant([1.0, float("inf")]), None]))
    False
    """
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
    # A NaN or infinite entry makes its sum of squares so: one fast pass over each gradient.
    squares = [_sum_of_squares(value, loss.dtype) for value in values if value is not None]
    return tf.math.is_finite(tf.add_n([loss, *squares]))


def _sum_of_squares(gradient, dtype):
    """A scalar of `dtype`; half precision, whose squares overflow at once, is widened before."""
    wide = gradient if gradient.dtype.size >= 4 else tf.cast(gradient, tf.float32)
    return tf.cast(2.0 * tf.nn.l2_loss(wide), dtype)


def usable(optimizer, loss, gradients):
    """Whether a batch counts: where it does not, it is skipped, left out of metrics and counted.

    An optimizer that scales losses expects gradients to overflow, skips the update and halves the
    scale: what is not finite at a scale of 2**-10 either is no overflow. It looks at entries alone:
    a norm that overflows is caught only without it.

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


def select(finite, new, old):
    """`new` where `finite` (a bool scalar), else `old`: also where `new` is NaN.

    >>> float(select(tf.constant(False), tf.constant(float("nan")), tf.constant(2.0)))
    2.0
    """
    return tf.where(finite, new, old)


def batches(optimizer):
    """The Keras variable that counts batches; `optimizer.iterations` may count updates instead.

    >>> int(batches(keras.optimizers.SGD()).value)
    0
    """
    return private_keras.batch_counter(getattr(optimizer, "inner_optimizer", optimizer))


def check_known(optimizer, variables):
    """Raises ValueError unless the optimizer, if it is built, has slots for each of `variables`.

    >>> check_known(keras.optimizers.SGD(), [])
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    known = {id(v) for v in private_keras.known_variables(inner)} if inner.built else None
    missing = [v.path for v in variables if known is not None and id(v) not in known]
    if missing:
        raise ValueError(
            f"trainable: {missing[0]}{' and others' * (len(missing) > 1)} was frozen when the "
            "optimizer was built, which knows nothing of it. Call compile again with a new "
            "optimizer."
        )


def apply_gradients(optimizer, gradients, variables, finite):
    """Updates weights and optimizer; all but its count of steps stays where not `finite`.

    A step that is skipped still counts, since the order of the data, the noise and the KL weight
    follow from the count. An optimizer that scales losses skips by itself, and is left to it.

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
        # The batch may be the one at which what others gave is applied: it gives nothing itself.
        gradients = [_nothing_unless(finite, gradient) for gradient in gradients]
        update()
    elif tf.distribute.has_strategy():
        _restored_unless(finite, update, _all_but_steps(optimizer, variables))
    else:
        tf.cond(finite, update, count)


def _nothing_unless(finite, gradient):
    """A gradient, or zeros where not `finite`; None stays None."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = select(finite, gradient.values, tf.zeros_like(gradient.values))
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return select(finite, gradient, tf.zeros_like(gradient))


def _restored_unless(finite, update, variables):
    """Replicas cannot update inside a branch: they update, and take it back."""
    before = [tf.convert_to_tensor(v.value) for v in variables]
    update()
    after = [tf.convert_to_tensor(v.value) for v in variables]
    kept = [select(finite, new, old) for new, old in zip(after, before, strict=True)]
    distribution.assign(variables, kept)


def _all_but_steps(optimizer, variables):
    return [*variables, *(v for v in optimizer.variables if v is not batches(optimizer))]


def scales_losses(optimizer):
    """Whether the optimizer expects overflow, and skips a step then."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
