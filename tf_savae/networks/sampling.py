"""Drawing token sequences one step at a time."""

import tensorflow as tf

from tf_savae.ground import checks, seeds

__all__ = ["sample_tokens"]


def sample_tokens(step, state, rows, length, seed, temperature=1.0, start=2, end=3, pad=0):
    """Samples `length` tokens per row in one while loop.

    Args:
      step: maps (int32 tokens [B], state) to (logits [B, V], state).
      state: tuple of tensors [B, *] before the first token.
      rows: B.
      length: tokens to draw.
      seed: int or stateless seed [2].
      temperature: divides the logits; 0 takes the most probable token.
      start, end, pad: the first input, the token that ends a row (None: none does), and what
        follows it.

    Returns:
      int32 [B, length + 1], `start` first.
    """
    checks.positive("temperature", temperature, zero=True)
    seed = seeds.as_seed(0 if seed is None else seed)
    array = tf.TensorArray(tf.int32, length, element_shape=[None])

    def body(time, tokens, state, done, array):
        logits, state = step(tokens, state)
        drawn = _draw(tf.cast(logits, tf.float32), seeds.fold(seed, time), temperature)
        drawn = tf.where(done, pad, drawn)
        if end is not None:
            done = done | (drawn == end)
        return time + 1, drawn, state, done, array.write(time, drawn)

    first = tf.fill([rows], start)
    *_, array = tf.while_loop(
        lambda time, *_: time < length,
        body,
        (tf.constant(0), first, state, tf.zeros([rows], tf.bool), array),
        maximum_iterations=length,
    )
    return tf.concat([first[:, None], tf.transpose(array.stack())], axis=1)


def _draw(logits, seed, temperature):
    if not temperature:
        return tf.argmax(logits, axis=1, output_type=tf.int32)
    drawn = tf.random.stateless_categorical(logits / temperature, 1, seed, dtype=tf.int32)
    return drawn[:, 0]
