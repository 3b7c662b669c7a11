"""Validate requests inside the exported program.

A server hands over whatever it was sent; not even ranks are compared with the signature's. So every
input loses its static shape first, and every check is an operation of the graph; what is computed
depends on the checks, and cannot begin before them.
"""

import tensorflow as tf

from tf_savae.core.tokens import END, PAD, START
from tf_savae.networks import DistributionDecoder, PixelCNNDecoder

__all__ = [
    "after",
    "checked_answer",
    "checked_input",
    "closed_rows",
    "example_checks",
    "reads_text",
    "rows_within",
    "within",
]


def checked_input(tensor, name, shape, *checks, prepare=None):
    """`tensor` with `shape`, once every check has passed.

    Args:
      tensor: as the server fed it.
      name: for the messages.
      shape: expected, None where any size will do.
      checks: functions of the tensor to (true where all is well, message).
      prepare: maps the tensor of that shape to the one that is checked and returned, or None.
    """
    # An identity that shape inference cannot see through, or the check below would be optimised
    # away: the signature promises what it is to check.
    tensor = tf.compat.v1.placeholder_with_default(tensor, shape=None)
    fits = _fits(tf.shape(tensor), shape)
    wanted = ", ".join("any" if n is None else str(n) for n in shape)
    tensor = after(tensor, fits, f"{name}: expected shape [{wanted}]")
    # Reshaped to the shape it has: `ensure_shape` would tell shape inference of its input, too.
    tensor = tf.ensure_shape(tf.reshape(tensor, tf.shape(tensor)), shape)
    if prepare is not None:
        tensor = prepare(tensor)
    for check in checks:
        holds, message = check(tensor)
        tensor = after(tensor, holds, f"{name}: {message}")
    return tensor


def _fits(actual, shape):
    """Whether a shape tensor of any length is `shape`."""
    wanted = tf.constant([-1 if n is None else n for n in shape], tf.int32)

    def compare():
        same = tf.equal(actual, wanted) | tf.equal(wanted, -1)
        return tf.reduce_all(same)

    return tf.cond(tf.equal(tf.size(actual), len(shape)), compare, lambda: tf.constant(False))


def after(tensor, condition, message):
    """`tensor`, once `condition` is known to hold; else an error with the message."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def within(low, high, hint=""):
    """A check that a number is from `low` to `high`."""

    def check(value):
        inside = (value >= low) & (value <= high)  # NaN is neither.
        return tf.reduce_all(inside), f"expected a number from {low} to {high}{hint}"

    return check


def rows_within(most):
    """A check of the number of examples."""

    def check(x):
        rows = tf.shape(x)[0]
        return (rows >= 1) & (rows <= most), f"expected 1 to {most} examples"

    return check


def reads_text(decoder):
    """Whether examples are rows <s> words </s> <pad> of a vocabulary."""
    known = getattr(decoder, "vocabulary_size", None) is not None
    return known and hasattr(decoder, "count_tokens")


def example_checks(model, limits):
    """The checks of a batch of examples of this model."""
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
        checks.append(within(0, 1, ", what a Bernoulli likelihood is of"))
    return checks


def _length_within(most):
    def check(x):
        length = tf.shape(x)[1]
        message = f"expected rows of 2 to {most} tokens, <s> and </s> included"
        return (length >= 2) & (length <= most), message

    return check


def _is_text(x):
    """<s> at the beginning, </s> after the last word, <pad> after that, and none elsewhere."""
    filled = x != PAD
    padded_at_the_end = tf.reduce_all(filled[:, :-1] | ~filled[:, 1:])
    first = tf.range(tf.shape(x)[1]) == 0
    last = filled & tf.concat([~filled[:, 1:], tf.ones_like(filled[:, :1])], axis=1)
    begins = tf.reduce_all((x == START) == first)
    ends = tf.reduce_all((x == END) == last)
    holds = padded_at_the_end & begins & ends
    return holds, "expected rows <s> (id 2), words, </s> (3), <pad> (0) at the end"


def closed_rows(x):
    """Token rows with <pad> after the first </s>, whatever stood there.

    A server that joins rows of different length fills the shorter ones up with their own first id,
    which is <s>.

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


def checked_answer(name, tensor):
    """`tensor`, once it is known to hold no NaN and no infinity: an error beats a wrong answer."""
    if not tensor.dtype.is_floating:
        return tensor
    finite = tf.reduce_all(tf.math.is_finite(tensor))
    return after(
        tensor,
        finite,
        f"{name}: the answer is not finite. Are the examples far from the training data?",
    )
