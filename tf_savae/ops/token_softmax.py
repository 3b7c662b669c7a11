"""Fused vocabulary projection, softmax and cross-entropy: the costliest operation of text models.

The first and second derivatives are custom. The logits are computed once, and all derivatives are
matrix products with p - onehot(target), in reverse mode and in forward mode.

Memory is bounded by chunks of tokens:

- In forward mode (Hessian-vector products), at most 2**23 logits are held at once, or 2**25 if
  steps keep "all". The derivative recomputes the logits of each chunk. In a graph the value itself
  is unused and therefore removed, so nothing is computed twice.
- The value and its gradient hold all logits up to 2**26. Above this limit, the value also computes
  its gradient with respect to `hidden`, chunk by chunk (XLA removes this if it is unused). Only the
  gradient of the kernel recomputes the logits. This requires a static number of tokens, and steps
  that do not keep "all".

Reverse-over-reverse products store all chunks.
"""

import tensorflow as tf

from tf_savae.autodiff import forward_mode, residuals
from tf_savae.ops.chunking import in_chunks

__all__ = ["token_nll"]

_CHUNK = 2**23  # Logits held at once in a Hessian-vector product: 32 MiB in float32.
_KEPT = 4  # Factor of the chunk size if steps keep "all": fewer sums of [H, V], more memory.
_THRESHOLD = 2**26  # Largest number of logits that is held at once otherwise: 256 MiB.


def token_nll(
    hidden: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    targets: tf.Tensor,
    chunk_size: int = _CHUNK,
    chunk_threshold: int = _THRESHOLD,
) -> tf.Tensor:
    """Returns -log softmax(hidden W + b)[target], one number per token, in nats.

    Args:
      hidden: [N, H].
      kernel: [H, V].
      bias: [V].
      targets: int32 [N], in [0, V).
      chunk_size: number of the N V logits that a Hessian-vector product in forward mode holds at
        once; four times as many if refinement keeps "all", which stores all logits of K steps.
      chunk_threshold: largest number of logits that the value and its gradient hold at once. If
        there are more, they use chunks of `chunk_size`, and the gradient of the kernel needs one
        more matrix product. Ignored if N is unknown at tracing or if refinement keeps "all".

    Returns:
      [N], float32 if `hidden` has lower precision. Differentiable to second order.

    >>> nll = token_nll(tf.zeros([1, 2]), tf.zeros([2, 4]), tf.zeros([4]), tf.constant([1]))
    >>> round(float(nll[0]), 4)
    1.3863
    """
    tangents = forward_mode.tangents_of([hidden])
    count, most = hidden.shape[0], max(1, chunk_size // kernel.shape[1])
    if tangents is None:
        slot = residuals.slot("softmax")
        few = count is None or count * kernel.shape[1] <= chunk_threshold
        if few or (slot is not None and slot.level == "all"):
            return _primal(slot)(hidden, kernel, bias, targets)
        return _primal_in_chunks(most, slot)(hidden, kernel, bias, targets)
    kept = residuals.replayed("softmax")
    most = _KEPT * most if "residual" in kept else most
    with forward_mode.paused():
        one = count is not None and count <= most
        dual = _dual(kept) if one else _dual_in_chunks(most, kept)
        nll, nll_dot = dual(hidden, tangents[0], kernel, bias, targets)
    return forward_mode.attach([nll], [nll_dot])[0]


def _cross_entropy(logits, targets):
    """Returns the loss [N] and its gradient p - onehot(target) [N, V]."""
    return tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=targets)


def _logits(hidden, kernel, bias):
    wide = _wide(hidden.dtype)
    return tf.cast(tf.matmul(hidden, kernel), wide) + tf.cast(bias, wide)


def _wide(dtype):
    return dtype if dtype == tf.float64 else tf.float32


def _times(factors, rows):
    """Returns each row times its factor; scaling [N, H] is cheaper than scaling [N, V]."""
    return tf.cast(factors, rows.dtype)[:, None] * rows


def _primal(slot):
    """Returns the loss function, which saves products of its gradient in `slot` if not None."""

    @tf.custom_gradient
    def primal(hidden, kernel, bias, targets):
        nll, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)

        def pull(upstream):
            narrow = tf.cast(residual, hidden.dtype)
            pulled = tf.matmul(narrow, kernel, transpose_b=True)
            if slot is not None:
                slot.update(pulled=pulled)
                if slot.level == "all":
                    slot.update(nll=nll, residual=residual)
            return (
                _times(upstream, pulled),
                tf.matmul(_times(upstream, hidden), narrow, transpose_a=True),
                tf.cast(tf.linalg.matvec(residual, upstream, transpose_a=True), bias.dtype),
                None,
            )

        return nll, pull

    return primal


def _primal_in_chunks(most, slot):
    """Returns the function of `_primal`, computed on at most `most` tokens at a time."""

    @tf.custom_gradient
    def primal(hidden, kernel, bias, targets):
        def forward(hidden, targets):
            nll, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)
            narrow = tf.cast(residual, hidden.dtype)
            return [nll, tf.matmul(narrow, kernel, transpose_b=True)], []

        outputs = [(_wide(hidden.dtype), []), (hidden.dtype, hidden.shape[1:])]
        (nll, pulled), _ = in_chunks(forward, [hidden, targets], outputs, [], most)

        def pull(upstream):
            def backward(hidden, targets, upstream):
                _, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)
                narrow = tf.cast(residual, hidden.dtype)
                total = tf.matmul(_times(upstream, hidden), narrow, transpose_a=True)
                bias_bar = tf.linalg.matvec(residual, upstream, transpose_a=True)
                return [], [tf.cast(total, upstream.dtype), bias_bar]

            sums = [(upstream.dtype, kernel.shape), (upstream.dtype, bias.shape)]
            _, sums = in_chunks(backward, [hidden, targets, upstream], [], sums, most)
            if slot is not None:
                slot.update(pulled=pulled)
            kernel_bar, bias_bar = tf.cast(sums[0], kernel.dtype), tf.cast(sums[1], bias.dtype)
            return _times(upstream, pulled), kernel_bar, bias_bar, None

        return nll, pull

    return primal


def _dual(kept):
    """Returns the function for the loss and its derivative <p - onehot, hidden_dot W>."""

    @tf.custom_gradient
    def dual(hidden, hidden_dot, kernel, bias, targets):
        rows = (hidden, hidden_dot, targets)
        parts = _dual_parts(*rows, kernel, bias, kept)

        def pull(upstream, upstream_dot):
            forward_mode.refuse_third_derivatives("token_nll")
            bars, sums = _dual_gradients(parts, *rows, kernel, (upstream, upstream_dot), kept)
            return *bars, sums[0], tf.cast(sums[1], bias.dtype), None

        return parts[:2], pull

    return dual


def _dual_in_chunks(most, kept):
    """Returns the function of `_dual`, on at most `most` tokens at a time; `pull` recomputes."""
    names, values = list(kept), list(kept.values())

    @tf.custom_gradient
    def dual(hidden, hidden_dot, kernel, bias, targets):
        rows = [hidden, hidden_dot, targets]

        def forward(hidden, hidden_dot, targets, *saved):
            held = dict(zip(names, saved, strict=True))
            return _dual_parts(hidden, hidden_dot, targets, kernel, bias, held)[:2], []

        def pull(upstream, upstream_dot):
            forward_mode.refuse_third_derivatives("token_nll")

            def backward(hidden, hidden_dot, targets, upstream, upstream_dot, *saved):
                held = dict(zip(names, saved, strict=True))
                chunk = (hidden, hidden_dot, targets)
                parts = _dual_parts(*chunk, kernel, bias, held)
                upstreams = (upstream, upstream_dot)
                bars, sums = _dual_gradients(parts, *chunk, kernel, upstreams, held)
                return bars, [tf.cast(total, upstream.dtype) for total in sums]

            width = (hidden.dtype, hidden.shape[1:])
            # Summed in full precision, also for weights of lower precision.
            sums = [(upstream.dtype, kernel.shape), (upstream.dtype, bias.shape)]
            known = [*rows, upstream, upstream_dot, *values]
            bars, sums = in_chunks(backward, known, [width, width], sums, most)
            return *bars, tf.cast(sums[0], kernel.dtype), tf.cast(sums[1], bias.dtype), None

        loss: tuple[tf.DType, list[int]] = (_wide(hidden.dtype), [])
        return tuple(in_chunks(forward, [*rows, *values], [loss, loss], [], most)[0]), pull

    return dual


def _dual_parts(hidden, hidden_dot, targets, kernel, bias, kept):
    """Returns loss and derivative [N], p - onehot and the derivative of the logits [N, V]."""
    nll, residual = kept.get("nll"), kept.get("residual")
    if residual is None:
        nll, residual = _cross_entropy(_logits(hidden, kernel, bias), targets)
    slopes = tf.cast(tf.matmul(hidden_dot, kernel), residual.dtype)
    return nll, tf.reduce_sum(residual * slopes, axis=1), residual, slopes


def _dual_gradients(parts, hidden, hidden_dot, targets, kernel, upstreams, kept):
    """Returns [gradients w.r.t. hidden, hidden_dot] and [gradients w.r.t. kernel, bias]."""
    _, nll_dot, residual, slopes = parts
    upstream, upstream_dot = upstreams
    # d/dlogits <p - e, s> = p (s - <p, s>), with p = residual + onehot and
    # <p, s> = nll_dot + s[target]: at the target that is residual (...) - nll_dot.
    chosen = tf.gather(slopes, targets, batch_dims=1)
    centred = slopes - (nll_dot + chosen)[:, None]
    onehot = tf.one_hot(targets, kernel.shape[1], dtype=residual.dtype)
    scale = upstream[:, None] + upstream_dot[:, None] * centred
    rows = residual * scale - onehot * (upstream_dot * nll_dot)[:, None]
    narrow, pulled = tf.cast(rows, hidden.dtype), kept.get("pulled")
    if pulled is None:
        pulled = tf.matmul(tf.cast(residual, hidden.dtype), kernel, transpose_b=True)
    bars = [tf.matmul(narrow, kernel, transpose_b=True), _times(upstream_dot, pulled)]
    kernel_bar = tf.matmul(hidden, narrow, transpose_a=True)
    moved = tf.cast(residual, hidden.dtype)
    kernel_bar += tf.matmul(_times(upstream_dot, hidden_dot), moved, transpose_a=True)
    return bars, [kernel_bar, tf.reduce_sum(rows, axis=0)]
