"""What keeps a NaN out of the weights: an update counts only where loss and gradients are finite.

By selection and not by a branch: XLA fuses `where` into the update, and a branch around variables
is impossible under some strategies of tf.distribute.
"""

import keras
import tensorflow as tf

__all__ = ["all_finite", "apply_gradients", "select"]


def all_finite(loss, gradients):
    """Whether the loss and every gradient hold finite numbers alone: a bool scalar.

    Args:
      loss: scalar.
      gradients: list of tensors, IndexedSlices, or None where a weight has no part in the loss.

    >>> bool(all_finite(tf.constant(1.0), [tf.constant([1.0, float("inf")]), None]))
    False
    """
    values = [loss, *(g for g in gradients if g is not None)]
    values = [v.values if isinstance(v, tf.IndexedSlices) else v for v in values]
    return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(v)) for v in values]))


def select(finite, new, old):
    """`new` where `finite` (a bool scalar), else `old`: also where `new` is NaN.

    >>> float(select(tf.constant(False), tf.constant(float("nan")), tf.constant(2.0)))
    2.0
    """
    return tf.where(finite, new, old)


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
    held = [] if scales_losses(optimizer) else _all_but_steps(optimizer, variables)
    before = [tf.convert_to_tensor(v.value) for v in held]
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    for variable, old in zip(held, before, strict=True):
        variable.assign(select(finite, tf.convert_to_tensor(variable.value), old))


def scales_losses(optimizer):
    """Whether the optimizer expects overflow, and skips a step then."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def _all_but_steps(optimizer, variables):
    return [*variables, *(v for v in optimizer.variables if v is not optimizer.iterations)]
