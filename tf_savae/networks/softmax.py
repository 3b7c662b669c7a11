"""The hot loop of text: projection to the vocabulary, softmax and loss as one operation.

First and second derivatives are written by hand, so that the logits are made once and every
derivative is matrix products of p - onehot(target), in reverse mode and in forward mode.
"""

import tensorflow as tf

from tf_savae.svi import forward_mode

__all__ = ["token_nll"]


def token_nll(hidden, kernel, bias, targets):
    """-log softmax(hidden W + b)[target], one number per token, in nats.

    Args:
      hidden: [N, H].
      kernel: [H, V].
      bias: [V].
      targets: int32 [N], in [0, V).

    Returns:
      [N], float32 where `hidden` is of lower precision. Differentiable to second order.

    >>> nll = token_nll(tf.zeros([1, 2]), tf.zeros([2, 4]), tf.zeros([4]), tf.constant([1]))
    >>> round(float(nll[0]), 4)
    1.3863
    """
    tangents = forward_mode.tangents_of([hidden])
    if tangents is None:
        return _primal(hidden, kernel, bias, targets)
    with forward_mode.paused():
        nll, nll_dot = _dual(hidden, tangents[0], kernel, bias, targets)
    return forward_mode.attach([nll], [nll_dot])[0]


def _cross_entropy(logits, targets):
    """Loss [N] and its gradient p - onehot(target) [N, V] in one pass."""
    return tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=targets)


def _logits(hidden, kernel, bias):
    logits = tf.matmul(hidden, kernel)
    wide = logits.dtype if logits.dtype == tf.float64 else tf.float32
    return tf.cast(logits, wide) + tf.cast(bias, wide)


@tf.custom_gradient
def _primal(hidden, kernel, bias, targets):
    nll, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)

    def pull(upstream):
        rows = upstream[:, None] * residual
        narrow = tf.cast(rows, hidden.dtype)
        return (
            tf.matmul(narrow, kernel, transpose_b=True),
            tf.matmul(hidden, narrow, transpose_a=True),
            tf.cast(tf.reduce_sum(rows, axis=0), bias.dtype),
            None,
        )

    return nll, pull


@tf.custom_gradient
def _dual(hidden, hidden_dot, kernel, bias, targets):
    """The loss and its derivative along `hidden_dot`: <p - onehot, hidden_dot W>."""
    nll, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)
    slopes = tf.cast(tf.matmul(hidden_dot, kernel), residual.dtype)
    nll_dot = tf.reduce_sum(residual * slopes, axis=1)

    def pull(upstream, upstream_dot):
        # d/dlogits <p - e, s> = p (s - <p, s>), with p = residual + onehot and
        # <p, s> = nll_dot + s[target]: at the target that is residual (...) - nll_dot.
        onehot = tf.one_hot(targets, kernel.shape[1], dtype=residual.dtype)
        chosen = tf.reduce_sum(onehot * slopes, axis=1)
        centred = slopes - (nll_dot + chosen)[:, None]
        scale = upstream[:, None] + upstream_dot[:, None] * centred
        rows = residual * scale - onehot * (upstream_dot * nll_dot)[:, None]
        rows_dot = upstream_dot[:, None] * residual
        narrow, narrow_dot = tf.cast(rows, hidden.dtype), tf.cast(rows_dot, hidden.dtype)
        kernel_bar = tf.matmul(hidden, narrow, transpose_a=True)
        kernel_bar += tf.matmul(hidden_dot, narrow_dot, transpose_a=True)
        return (
            tf.matmul(narrow, kernel, transpose_b=True),
            tf.matmul(narrow_dot, kernel, transpose_b=True),
            kernel_bar,
            tf.cast(tf.reduce_sum(rows, axis=0), bias.dtype),
            None,
        )

    return (nll, nll_dot), pull
