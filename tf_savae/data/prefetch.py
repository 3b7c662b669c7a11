"""Prefetch batches in the background: the end of every input pipeline."""

import tensorflow as tf

__all__ = ["weighted_batches"]

_AHEAD = 4  # A batch is small.


def weighted_batches(fetch, rows, cardinality):
    """A dataset of (rows, None, weights), of which the next few are made in the background.

    tf.data's autotuning is off: there is nothing to tune, and an iterator that ends while the
    tuner's thread sleeps may have to wait for its next turn, 5.1, 10, 20, 41, 82 seconds and so on
    after it began; a pass over the validation data then lasts as long as that. Of 40 iterators
    that lived for 2.7 s, 6 took 2.2 s more to go away, and none of 40 without a tuner.

    Args:
      fetch: () -> an iterator of (rows, weights) in NumPy, weights float32 [B].
      rows: a `tf.TensorSpec` [B, ...].
      cardinality: how many batches there are, or `tf.data.INFINITE_CARDINALITY`.

    >>> import numpy as np
    >>> rows = tf.TensorSpec([2, 3], tf.int32)
    >>> one = [(np.zeros([2, 3], np.int32), np.ones([2], np.float32))]
    >>> dataset = weighted_batches(lambda: iter(one), rows, 1)
    >>> len(dataset), dataset.options().autotune.enabled
    (1, False)
    """
    signature = (rows, tf.TensorSpec(rows.shape[:1], tf.float32))
    dataset = tf.data.Dataset.from_generator(fetch, output_signature=signature)
    # from_generator cannot yield None; Keras reads (x, y, sample_weight) from three places.
    dataset = dataset.map(lambda x, weights: (x, None, weights))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(_AHEAD).with_options(options)
