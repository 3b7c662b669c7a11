"""Validate requests inside the exported program.

A server does not compare requests with the signature, not even their ranks. Therefore the static
shape of every input is removed first, and every check is an operation of the graph. The computation
depends on the checks and cannot start before them.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tf_savae.core.tokens import END, PAD, START
from tf_savae.networks import DistributionDecoder, PixelCNNDecoder
from tf_savae.serving.limits import Limits

__all__ = [
    "Check",
    "after",
    "checked_output",
    "checked_input",
    "closed_rows",
    "example_checks",
    "reads_text",
    "rows_within",
    "within",
]

# Maps a tensor to (bool scalar, true if valid; message).
Check: TypeAlias = Callable[[tf.Tensor], tuple[tf.Tensor, str]]


def checked_input(
    tensor: tf.Tensor,
    name: str,
    shape: Sequence[int | None],
    *checks: Check,
    prepare: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Returns `tensor` with the static shape `shape`, after every check has passed.

    Args:
      tensor: the tensor that the server fed.
      name: name of the input in error messages.
      shape: expected shape, None for an arbitrary size.
      checks: functions tensor -> (bool scalar, true if valid; message).
      prepare: maps the tensor, after the shape check, to the tensor that is checked and returned;
        None for no change.
    """
    # An identity that is opaque to shape inference. Otherwise the shape check below would be
    # optimised away, since the signature already declares that shape.
    tensor = tf.compat.v1.placeholder_with_default(tensor, shape=None)
    fits = _fits(tf.shape(tensor), shape)
    wanted = ", ".join("any" if n is None else str(n) for n in shape)
    tensor = after(tensor, fits, f"{name}: expected shape [{wanted}]")
    # Reshaped to its own shape: `ensure_shape` alone would also set the static shape of its input.
    tensor = tf.ensure_shape(tf.reshape(tensor, tf.shape(tensor)), shape)
    if prepare is not None:
        tensor = prepare(tensor)
    for check in checks:
        holds, message = check(tensor)
        tensor = after(tensor, holds, f"{name}: {message}")
    return tensor


def _fits(actual, shape):
    """Returns whether a shape tensor of any length matches `shape`."""
    wanted = tf.constant([-1 if n is None else n for n in shape], tf.int32)

    def compare():
        same = tf.equal(actual, wanted) | tf.equal(wanted, -1)
        return tf.reduce_all(same)

    return tf.cond(tf.equal(tf.size(actual), len(shape)), compare, lambda: tf.constant(False))


def after(tensor: tf.Tensor, condition: tf.Tensor, message: str) -> tf.Tensor:
    """Returns `tensor` after asserting `condition`; fails with `message` otherwise."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def within(low: float, high: float, hint: str = "") -> Check:
    """Returns a check that all values are in [low, high]."""

    def check(value):
        inside = (value >= low) & (value <= high)  # False for NaN.
        return tf.reduce_all(inside), f"expected a number from {low} to {high}{hint}"

    return check


def rows_within(most: int) -> Check:
    """Returns a check that the number of examples is in [1, most]."""

    def check(x):
        rows = tf.shape(x)[0]
        return (rows >= 1) & (rows <= most), f"expected 1 to {most} examples"

    return check


def reads_text(decoder: keras.layers.Layer) -> bool:
    """Returns whether examples are token rows <s> words </s> <pad> of a vocabulary."""
    known = getattr(decoder, "vocabulary_size", None) is not None
    return known and hasattr(decoder, "count_tokens")


def example_checks(model: keras.Model, limits: Limits) -> list[Check]:
    """Returns the checks for a batch of examples of this model."""
    checks = [rows_within(limits.rows)]
    decoder = model.decoder
    size = getattr(decoder, "vocabulary_size", None)
    if size is not None:
        checks.append(within(0, size - 1, f": token ids of a vocabulary of {size}"))
    else:
        checks.append(_finite)
    if reads_text(decoder):
        checks += [_length_within(limits.words + 2), _is_text]
    if isinstance(decoder, PixelCNNDecoder):
        checks.append(_is_binary)
    elif isinstance(decoder, DistributionDecoder) and decoder.likelihood == "bernoulli":
        checks.append(within(0, 1, ", the support of a Bernoulli likelihood"))
    return checks


def _length_within(most):
    def check(x):
        length = tf.shape(x)[1]
        message = f"expected rows of 2 to {most} tokens, <s> and </s> included"
        return (length >= 2) & (length <= most), message

    return check


def _is_text(x):
    """Checks for <s> first, </s> after the last word, then <pad>, and none of them elsewhere."""
    filled = x != PAD
    padded_at_the_end = tf.reduce_all(filled[:, :-1] | ~filled[:, 1:])
    first = tf.range(tf.shape(x)[1]) == 0
    last = filled & tf.concat([~filled[:, 1:], tf.ones_like(filled[:, :1])], axis=1)
    begins = tf.reduce_all((x == START) == first)
    ends = tf.reduce_all((x == END) == last)
    holds = padded_at_the_end & begins & ends
    return holds, "expected rows <s> (id 2), words, </s> (3), <pad> (0) at the end"


def closed_rows(x: tf.Tensor) -> tf.Tensor:
    """Returns token rows in which all tokens after the first </s> are replaced by <pad>.

    A server that batches rows of different lengths pads the shorter ones with their first id, which
    is <s>.

    >>> closed_rows(tf.constant([[2, 5, 3, 2, 2], [2, 5, 6, 7, 3]])).numpy().tolist()
    [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3]]
    """
    ended = tf.cumsum(tf.cast(x == END, tf.int32), axis=1, exclusive=True) > 0
    return tf.where(ended, PAD, x)


def _finite(x):
    finite = tf.math.is_finite(x) if x.dtype.is_floating else tf.ones_like(x, tf.bool)
    return tf.reduce_all(finite), "expected finite numbers, got NaN or infinity"


def _is_binary(x):
    return tf.reduce_all((x == 0) | (x == 1)), "expected pixels of 0 or 1"


def checked_output(name: str, tensor: tf.Tensor) -> tf.Tensor:
    """Returns `tensor` after asserting that it is finite; the graph fails on NaN and infinity."""
    if not tensor.dtype.is_floating:
        return tensor
    finite = tf.reduce_all(tf.math.is_finite(tensor))
    return after(
        tensor,
        finite,
        f"{name}: the output is not finite. Are the examples far from the training data?",
    )
