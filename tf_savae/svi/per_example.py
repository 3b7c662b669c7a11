"""Arithmetic per example on flat lists of tensors [B, ...]: norms, inner products, clipping."""

from typing import TypeAlias

import tensorflow as tf

__all__ = [
    "clip",
    "cosine",
    "divide_safely",
    "inner",
    "norm",
    "expand_like",
    "with_gradient",
    "Tensors",
]

Tensors: TypeAlias = list[tf.Tensor]  # A nest as a flat list.


def inner(left: Tensors, right: Tensors) -> tf.Tensor:
    """Returns the per-example inner product of two lists of tensors [B, ...], a tensor [B].

    >>> inner([tf.ones([2, 3])], [tf.ones([2, 3])]).numpy().tolist()
    [3.0, 3.0]
    """
    return tf.add_n(
        [
            tf.reduce_sum(a * b, axis=list(range(1, a.shape.rank)))
            for a, b in zip(left, right, strict=True)
        ]
    )


def norm(tensors: Tensors) -> tf.Tensor:
    """Returns the per-example Euclidean norm over all tensors, [B].

    >>> norm([tf.constant([[3.0]]), tf.constant([[4.0]])]).numpy().tolist()
    [5.0]
    """
    square = inner(tensors, tensors)
    zero = tf.equal(square, 0)
    # The root's derivative at 0 is infinite, and infinity times 0 is not a number.
    root = tf.sqrt(tf.where(zero, tf.ones_like(square), square))
    return tf.where(zero, tf.zeros_like(square), root)


def expand_like(per_example: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes [B] to [B, 1, ...] so that it broadcasts against `like` [B, ...].

    >>> expand_like(tf.zeros([2]), tf.zeros([2, 3, 4])).shape.as_list()
    [2, 1, 1]
    """
    shape = tf.concat([tf.shape(per_example), tf.ones([like.shape.rank - 1], tf.int32)], 0)
    static = [per_example.shape[0]] + [1] * (like.shape.rank - 1)
    return tf.ensure_shape(tf.reshape(per_example, shape), static)


def cosine(left: Tensors, right: Tensors) -> tf.Tensor:
    """Returns the per-example cosine of two lists of tensors, [B]; 0 if one of them is 0.

    >>> cosine([tf.constant([[2.0, 0.0]])], [tf.constant([[3.0, 3.0]])]).numpy().round(3).tolist()
    [0.7070000171661377]
    """
    return divide_safely(inner(left, right), norm(left) * norm(right))


def divide_safely(numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Returns numerator / denominator, or 0 if the denominator is 0."""
    return tf.math.divide_no_nan(numerator, denominator)


def with_gradient(value: tf.Tensor, at: Tensors, gradient: Tensors) -> tf.Tensor:
    """Returns `value` [B] as a function of `at` with the given gradient, both lists of [B, ...].

    >>> x = tf.constant([[2.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     square = with_gradient(tf.constant([4.0]), [x], [tf.constant([[4.0]])])
    >>> square.numpy().tolist(), tape.gradient(square, x).numpy().tolist()
    ([4.0], [[4.0]])
    """
    moved = [a - tf.stop_gradient(a) for a in at]
    slope = [tf.stop_gradient(g) for g in gradient]
    return tf.stop_gradient(value) + inner(slope, moved)


def _clip_scale(size, clip_norm):
    limit = tf.constant(clip_norm, size.dtype)  # `tf.cast` would round it to float32 first.
    return tf.where(size > limit, divide_safely(limit, size), tf.ones_like(size))


def clip(gradient: Tensors, clip_norm: float | None) -> Tensors:
    """Clips the norm of each example's gradient to `clip_norm`; None returns it unchanged.

    The factor is differentiated, too: the Jacobian of a clipped example is
    (c / |g|) (I - g g' / |g|^2), which removes the component along the gradient. With a constant
    factor the derivative of clipped refinement would be wrong.

    >>> gradient = tf.constant([[3.0, 4.0], [0.3, 0.4]], tf.float64)
    >>> clip([gradient], 1.0)[0].numpy().round(2).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    if clip_norm is None:
        return gradient
    scale = _clip_scale(norm(gradient), clip_norm)
    return [g * expand_like(scale, g) for g in gradient]
