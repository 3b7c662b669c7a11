"""Beam search with length normalisation."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_savae.core import validation
from tf_savae.core.tokens import END, PAD, START
from tf_savae.core.typing import TensorLike

__all__ = ["beam_search"]

_NEVER = float("-inf")


def beam_search(
    step: Callable[..., tuple[tf.Tensor, Any]],
    state: tuple,
    rows: TensorLike,
    length: int,
    beam_size: int = 5,
    length_penalty: float = 0.0,
    forbidden: Sequence[int] = (),
    start: int = START,
    end: int = END,
    pad: int = PAD,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the `beam_size` best sequences of each row by beam search in one while loop.

    Finished sequences remain in the beam. Sequences are ranked by
    log p / ((5 + n) / 6)^length_penalty, where n is the number of tokens including `end` (Wu et
    al. 2016, https://arxiv.org/abs/1609.08144, section 7). beam_size=1 is greedy decoding. A beam
    as wide as the number of possible sequences finds the best sequence.

    Args:
      step: maps (int32 tokens [B * W], state) to (logits [B * W, V], state); the rows of one
        example are adjacent.
      state: tuple of tensors [B * W, *] before the first token.
      rows: B, an int or int tensor.
      length: T, a Python int; unfinished sequences are truncated to this length.
      beam_size: W, at least 1.
      length_penalty: 0 ranks by probability, which favours short sequences; larger values favour
        longer ones.
      forbidden: ids that are excluded from sequences.
      start, end, pad: the first input, the token that ends a sequence, and the padding after it.

    Returns:
      (int32 [B, W, T + 1] beginning with `start`; log p of the tokens up to `end`, [B, W] float32
      nats), best first; log p is -inf for missing entries if there are fewer than W sequences.

    Raises:
      ValueError: beam_size or length_penalty is out of range.

    >>> def step(tokens, state):
    ...     return tf.one_hot([3] * 2, 5), state  # Always most probably the end.
    >>> found, log_prob = beam_search(step, (), rows=1, length=3, beam_size=2)
    >>> found[0, 0].numpy().tolist()
    [2, 3, 0, 0]
    """
    width = validation.positive_int("beam_size", beam_size)
    validation.positive("length_penalty", length_penalty, zero=True)
    flat = rows * width
    places = tf.range(length)[None, None]

    def body(time, tokens, state, done, count, scores, written):
        logits, state = step(tf.reshape(tokens, [flat]), state)
        log_probs = _next_log_probs(logits, [rows, width, -1], done, forbidden, pad)
        total = scores[:, :, None] + log_probs
        count += tf.cast(~done, tf.int32)
        rank = total / _penalty(count, length_penalty)[:, :, None]
        scores, beams, tokens = _best(rank, total, width)
        state = tuple(_select(part, beams, [flat]) for part in state)
        done, count, written = (_take(part, beams) for part in (done, count, written))
        done |= tokens == end
        written = tf.where(places == time, tokens[:, :, None], written)
        return time + 1, tokens, state, done, count, scores, written

    first = tf.fill([rows, width], start)
    done, count = tf.zeros([rows, width], tf.bool), tf.zeros([rows, width], tf.int32)
    # Start with a single beam, since identical beams would remain identical.
    scores = tf.tile(tf.constant([[0.0] + [_NEVER] * (width - 1)]), [rows, 1])
    written = tf.fill([rows, width, length], pad)
    *_, scores, written = tf.while_loop(
        lambda time, tokens, state, done, *_: ~tf.reduce_all(done),
        body,
        (tf.constant(0), first, tuple(state), done, count, scores, written),
        maximum_iterations=length,
    )
    return tf.concat([first[:, :, None], written], axis=2), scores


def _next_log_probs(logits, shape, done, forbidden, pad):
    """Returns log p of each next token, [B, W, V]; after `end` only `pad` is possible, log p 0."""
    log_probs = tf.reshape(tf.nn.log_softmax(tf.cast(logits, tf.float32)), shape)
    ids = tf.range(logits.shape[-1])
    for token in forbidden:
        log_probs = tf.where(ids == token, _NEVER, log_probs)
    return tf.where(done[:, :, None], tf.where(ids == pad, 0.0, _NEVER), log_probs)


def _penalty(count, exponent):
    """Returns the length penalty ((5 + n) / 6)^exponent for n tokens."""
    return ((5.0 + tf.cast(count, tf.float32)) / 6.0) ** exponent


def _best(rank, total, width):
    """Returns (log p, old beam, token), [B, W] each, of the `width` best continuations per row."""
    vocabulary = rank.shape[-1]
    flat = [tf.shape(rank)[0], width * vocabulary]
    _, index = tf.math.top_k(tf.reshape(rank, flat), width)
    scores = tf.gather(tf.reshape(total, flat), index, batch_dims=1)
    return scores, index // vocabulary, index % vocabulary


def _take(tensor, beams):
    """Gathers a tensor [B, W, ...] in the order of `beams` [B, W]."""
    return tf.gather(tensor, beams, batch_dims=1)


def _select(tensor, beams, flat):
    """Gathers a tensor [B * W, *] in the order of `beams` [B, W]."""
    width = beams.shape[1]
    offsets = tf.range(tf.shape(beams)[0])[:, None] * width
    return tf.gather(tensor, tf.reshape(beams + offsets, flat))
