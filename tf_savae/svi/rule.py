"""One step of momentum descent with per-example clipping, and the exact derivative of each.

Everything here works on flat lists of tensors [B, ...]: one set of variational parameters.
"""

import tensorflow as tf

__all__ = [
    "clip",
    "clip_vjp",
    "divide_safely",
    "inner",
    "momentum_step",
    "norm",
    "spread",
    "sum_to",
]


def inner(left, right):
    """Per-example inner product of two sets of tensors [B, ...]: a tensor [B].

    >>> inner([tf.ones([2, 3])], [tf.ones([2, 3])]).numpy().tolist()
    [3.0, 3.0]
    """
    return tf.add_n(
        [
            tf.reduce_sum(a * b, axis=list(range(1, a.shape.rank)))
            for a, b in zip(left, right, strict=True)
        ]
    )


def norm(tensors):
    """Per-example Euclidean norm over all tensors: [B].

    >>> norm([tf.constant([[3.0]]), tf.constant([[4.0]])]).numpy().tolist()
    [5.0]
    """
    square = inner(tensors, tensors)
    zero = tf.equal(square, 0)
    # The root's derivative at 0 is infinite, and infinity times 0 is not a number.
    root = tf.sqrt(tf.where(zero, tf.ones_like(square), square))
    return tf.where(zero, tf.zeros_like(square), root)


def spread(per_example, like):
    """Reshapes [B] to [B, 1, ...] so that it broadcasts against `like` [B, ...].

    >>> spread(tf.zeros([2]), tf.zeros([2, 3, 4])).shape.as_list()
    [2, 1, 1]
    """
    shape = tf.concat([tf.shape(per_example), tf.ones([like.shape.rank - 1], tf.int32)], 0)
    static = [per_example.shape[0]] + [1] * (like.shape.rank - 1)
    return tf.ensure_shape(tf.reshape(per_example, shape), static)


def divide_safely(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0."""
    return tf.math.divide_no_nan(numerator, denominator)


def _clip_scale(size, clip_norm):
    limit = tf.constant(clip_norm, size.dtype)  # A cast would round it to float32 on its way.
    return tf.where(size > limit, divide_safely(limit, size), tf.ones_like(size))


def clip(gradient, clip_norm):
    """Scales each example's gradient down to norm `clip_norm`; None leaves it alone.

    >>> gradient = tf.constant([[3.0, 4.0], [0.3, 0.4]], tf.float64)
    >>> clip([gradient], 1.0)[0].numpy().round(2).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    if clip_norm is None:
        return gradient
    scale = _clip_scale(norm(gradient), clip_norm)
    return [g * spread(scale, g) for g in gradient]


def clip_vjp(gradient, clip_norm, vector):
    """Multiplies `vector` by the (symmetric) Jacobian of `clip` at `gradient`.

    Where an example is clipped, clip(g) = c g / |g|, whose Jacobian is
    (c / |g|) (I - g g' / |g|^2): the component along the gradient is lost. Treating the factor
    as a constant instead is what makes a clipped refinement's derivative wrong.

    >>> g, v = [tf.constant([[3.0, 4.0]])], [tf.constant([[3.0, 4.0]])]
    >>> clip_vjp(g, 1.0, v)[0].numpy().round(6).tolist()
    [[0.0, 0.0]]
    """
    if clip_norm is None:
        return vector
    size = norm(gradient)
    scale = _clip_scale(size, clip_norm)
    clipped = size > tf.constant(clip_norm, size.dtype)
    along = divide_safely(inner(gradient, vector), tf.square(size))
    along = tf.where(clipped, along, tf.zeros_like(along))
    return [
        spread(scale, g) * (v - spread(along, g) * g)
        for g, v in zip(gradient, vector, strict=True)
    ]


def momentum_step(parameters, velocity, gradient, step_size, momentum, clip_norm):
    """One SVI step (Kim et al. 2018, algorithm 1, lines 5 to 7): new parameters and velocity.

    >>> lam, u = momentum_step(
    ...     [tf.ones([1, 1])], [tf.zeros([1, 1])], [tf.ones([1, 1])], [tf.constant(0.5)], 0.5, None)
    >>> lam[0].numpy().tolist()
    [[0.5]]
    """
    gradient = clip(gradient, clip_norm)
    velocity = [momentum * u - g for u, g in zip(velocity, gradient, strict=True)]
    parameters = [
        p + a * u for p, a, u in zip(parameters, step_size, velocity, strict=True)
    ]
    return parameters, velocity


def sum_to(tensor, like):
    """Sums `tensor` over the axes along which `like` was broadcast to reach its shape."""
    extra = tensor.shape.rank - like.shape.rank
    tensor = tf.reduce_sum(tensor, axis=list(range(extra)))
    ones = [i for i, size in enumerate(like.shape) if size == 1]
    return tf.reduce_sum(tensor, axis=ones, keepdims=True) if ones else tensor
