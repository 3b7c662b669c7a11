"""Autoregressive decoding of token sequences: greedy, sampling, top-k and nucleus sampling."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.tokens import END, PAD, START
from tf_savae.core.typing import Seed, TensorLike
from tf_savae.samplers.per_row import row_seeds, row_uniforms

__all__ = [
    "checked_temperature",
    "choice_by_row",
    "decode_tokens",
    "likeliest",
    "sample_tokens",
    "tempered",
]

_ONE = 0x3F800000  # The bits of 1.0 in float32.


def sample_tokens(
    step: Callable[..., tuple[tf.Tensor, Any]],
    state: tuple,
    rows: TensorLike,
    length: int,
    seed: Seed,
    temperature: TensorLike = 1.0,
    start: int = START,
    end: int | None = END,
    pad: int = PAD,
) -> tf.Tensor:
    """Samples `length` tokens per row; the noise is drawn for the whole batch at once.

    Args:
      step, state, rows, length, start, end, pad: as for `decode_tokens`.
      seed: int or stateless seed [2].
      temperature: divisor of the logits, a number or a scalar tensor; 0 selects the most probable
        token.

    Returns:
      int32 [B, length + 1], beginning with `start`.
    """
    temperature = checked_temperature(temperature)
    seed = seeds.as_seed(0 if seed is None else seed)

    def choose(logits, time):
        def draw(scaled):
            now = seeds.fold(seed, time)
            return tf.random.stateless_categorical(scaled, 1, now, dtype=tf.int32)[:, 0]

        return tempered(logits, temperature, draw, _argmax)

    return decode_tokens(step, state, rows, length, choose, start=start, end=end, pad=pad)


def decode_tokens(
    step: Callable[..., tuple[tf.Tensor, Any]],
    state: tuple,
    rows: TensorLike,
    length: int,
    choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    start: int = START,
    end: int | None = END,
    pad: int = PAD,
) -> tf.Tensor:
    """Chooses up to `length` tokens per row in one while loop, until all rows have ended.

    Args:
      step: maps (int32 tokens [B], state) to (logits [B, V], state).
      state: tuple of tensors [B, *] before the first token.
      rows: B.
      length: T, a Python int.
      choose: maps (float32 logits [B, V], time) to int32 tokens [B].
      start, end, pad: the first input, the token that ends a row (None for no such token), and the
        padding after it.

    Returns:
      int32 [B, T + 1], beginning with `start`.
    """
    places = tf.range(length)[None]

    def body(time, tokens, state, done, written):
        logits, state = step(tokens, state)
        chosen = choose(tf.cast(logits, tf.float32), time)
        chosen = tf.where(done, pad, chosen)
        if end is not None:
            done = done | (chosen == end)
        written = tf.where(places == time, chosen[:, None], written)
        return time + 1, chosen, state, done, written

    first = tf.fill([rows], start)
    written = tf.fill([rows, length], pad)
    *_, written = tf.while_loop(
        lambda time, tokens, state, done, written: ~tf.reduce_all(done),
        body,
        (tf.constant(0), first, tuple(state), tf.zeros([rows], tf.bool), written),
        maximum_iterations=length,
    )
    return tf.concat([first[:, None], written], axis=1)


def likeliest(forbidden: Sequence[int] = ()) -> Callable[[tf.Tensor, TensorLike], tf.Tensor]:
    """Returns a `choose` function for `decode_tokens`: the most probable token not forbidden."""
    return lambda logits, time: _argmax(_without(logits, forbidden))


def choice_by_row(
    seed: Seed,
    rows: TensorLike,
    length: int,
    temperature: TensorLike = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    forbidden: Sequence[int] = (),
) -> Callable[[tf.Tensor, TensorLike], tf.Tensor]:
    """Returns a `choose` function for `decode_tokens`: samples row i from (seed, i) only.

    The logits are divided by `temperature`. Then only the `top_k` most probable tokens are kept
    (Fan et al. 2018, https://arxiv.org/abs/1805.04833), and their probabilities are renormalised.
    Of these, the smallest set of most probable tokens whose total probability reaches `top_p` is
    kept (the nucleus, Holtzman et al. 2020, https://arxiv.org/abs/1904.09751). Ties are broken in
    favour of the lower id.

    Args:
      seed: int, stateless seed [2], or one seed for each row, [B, 2].
      rows: B.
      length: T, a Python int.
      temperature: >= 0, a number or a scalar tensor; 0 is `likeliest`.
      top_k: int >= 1, or None for all tokens.
      top_p: in (0, 1], or None for 1.
      forbidden: ids that are never sampled.

    Raises:
      ValueError: an argument is out of range.

    >>> choose = choice_by_row(0, rows=2, length=5, top_k=1)
    >>> choose(tf.constant([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]]), 0).numpy().tolist()
    [1, 0]
    """
    temperature = checked_temperature(temperature)
    top_k = None if top_k is None else validation.positive_int("top_k", top_k)
    if top_p is not None and not validation.unit_interval("top_p", top_p):
        raise ValueError(f"top_p: expected a number in (0, 1], got {top_p!r}.")
    top_p = None if top_p == 1 else top_p
    if not tf.is_tensor(temperature) and not temperature:
        return likeliest(forbidden)
    uniforms = row_uniforms(row_seeds(0 if seed is None else seed, rows), length)

    def draw(logits, time):
        tokens, probabilities = _kept(logits, top_k, top_p)
        drawn = _draw(probabilities, tf.gather(uniforms, time, axis=1))
        return drawn if tokens is None else tf.gather(tokens, drawn, batch_dims=1)

    def choose(logits, time):
        logits = _without(logits, forbidden)
        return tempered(logits, temperature, lambda scaled: draw(scaled, time), _argmax)

    return choose


def checked_temperature(temperature: TensorLike) -> TensorLike:
    """Returns the temperature as a float >= 0, or a scalar tensor unchanged.

    The value of a tensor is not checked; that is the caller's responsibility.

    Raises:
      ValueError: the temperature is not a number, is negative, or is a tensor that is not scalar.

    >>> checked_temperature(2)
    2.0
    """
    if tf.is_tensor(temperature):
        if temperature.shape.rank:
            raise ValueError(
                "temperature: expected a number or a scalar tensor, the same for all rows; got "
                f"shape {temperature.shape.as_list()}."
            )
        return temperature
    return validation.positive("temperature", temperature, zero=True)


def tempered(
    logits: tf.Tensor,
    temperature: TensorLike,
    draw: Callable[[tf.Tensor], tf.Tensor],
    likeliest: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Returns `draw(logits / temperature)`, or `likeliest(logits)` for temperature 0.

    Args:
      logits: any float tensor.
      temperature: the result of `checked_temperature`.
      draw, likeliest: functions of logits whose results have the same shape and dtype.

    >>> tempered(tf.ones([2]), tf.constant(0.5), lambda t: t, tf.zeros_like).numpy().tolist()
    [2.0, 2.0]
    """
    if not tf.is_tensor(temperature):
        return draw(logits / temperature) if temperature else likeliest(logits)
    temperature = tf.cast(temperature, logits.dtype)
    positive = temperature > 0
    drawn = draw(logits / tf.where(positive, temperature, tf.ones_like(temperature)))
    return tf.where(positive, drawn, likeliest(logits))


def _kept(logits, top_k, top_p):
    """Returns ids [B, N] (None: all, in order) and probabilities [B, N], 0 if excluded."""
    if top_k is None:
        probabilities = tf.nn.softmax(logits)
        return None, probabilities if top_p is None else _nucleus(probabilities, top_p)
    values, tokens = tf.math.top_k(logits, min(top_k, logits.shape[-1]))
    probabilities = tf.nn.softmax(values)
    if top_p is not None:
        before = tf.cumsum(tf.cast(probabilities, tf.float64), axis=1, exclusive=True)
        probabilities = tf.where(before < top_p, probabilities, 0.0)
    return tokens, probabilities


def _nucleus(probabilities, top_p):
    """Returns `probabilities` [B, V], with 0 outside of the nucleus.

    Does not sort, since XLA's sort is slow on CPUs. The smallest probability in the nucleus is
    found by bisection. The result is exact, since floats from 0 to 1 have the same order as the
    integers with the same bits.
    """
    keys = tf.bitcast(probabilities, tf.int32)
    wide = tf.cast(probabilities, tf.float64)

    def above(key):
        return tf.reduce_sum(tf.where(keys > key[:, None], wide, 0.0), axis=1)

    def halved(low, high):  # The sum above `low` reaches top_p; that above `high` does not.
        middle = low + (high - low) // 2
        reaches = above(middle) >= top_p
        return tf.where(reaches, middle, low), tf.where(reaches, high, middle)

    ends = tf.fill([tf.shape(keys)[0]], -1), tf.fill([tf.shape(keys)[0]], _ONE)
    _, least = tf.while_loop(lambda *_: True, halved, ends, maximum_iterations=30)
    equal = keys == least[:, None]
    before = tf.cumsum(tf.where(equal, wide, 0.0), axis=1, exclusive=True)
    inside = equal & (above(least)[:, None] + before < top_p)
    return tf.where(inside | (keys > least[:, None]), probabilities, 0.0)


def _draw(probabilities, uniform):
    """Samples by inverse CDF: int32 [B] for unnormalised probabilities [B, N]."""
    possible = probabilities > 0
    upto = tf.cumsum(tf.cast(probabilities, tf.float64), axis=1)
    total = tf.reduce_max(tf.where(possible, upto, 0.0), axis=1)
    # `possible` is applied again, since rounding can make long cumulative sums non-monotonic.
    reached = possible & (upto > (uniform * total)[:, None])
    return tf.argmax(tf.cast(reached, tf.int8), axis=1, output_type=tf.int32)


def _without(logits, forbidden):
    """Returns the logits, with -inf for the ids in `forbidden`."""
    if not forbidden:
        return logits
    mask = tf.reduce_any(tf.range(logits.shape[-1])[:, None] == tf.constant(forbidden), axis=1)
    return tf.where(mask, tf.constant(float("-inf"), logits.dtype), logits)


def _argmax(logits):
    return tf.argmax(logits, axis=1, output_type=tf.int32)
