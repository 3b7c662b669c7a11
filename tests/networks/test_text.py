"""The text networks: masks, word dropout, dropout's replay, sampling."""

import keras
import numpy as np
import tensorflow as tf
from keras_models import tokens

from tf_savae.networks import TextDecoder, TextEncoder, predicted_tokens


def _decoder(**options):
    keras.utils.set_random_seed(0)
    options = {"latent_size": 2, "dropout": 0.0, "initial_scale": 0.7, **options}
    return TextDecoder(20, 4, 5, **options)


def test_log_prob_by_hand():
    """Sum over real targets of log-softmax, from the decoder's own weights."""
    decoder, x = _decoder(), tokens(3, 6)
    z = tf.random.stateless_normal([3, 2], [0, 1])
    got = decoder(x, z)
    hidden, cell, total = decoder.to_hidden(z), tf.zeros([3, 5]), 0.0
    for time in range(5):
        projected = decoder.lstm.project(decoder.embedding(x[:, time])) + decoder.to_gates(z)
        hidden, cell = decoder.lstm.step(projected, (hidden, cell))
        log_probs = tf.nn.log_softmax(decoder.softmax(hidden)).numpy()
        target = x[:, time + 1]
        total += np.where(target == 0, 0.0, log_probs[np.arange(3), target])
    np.testing.assert_allclose(got, total, rtol=1e-5)


def test_an_empty_row_has_probability_one():
    decoder = _decoder()
    assert decoder(np.zeros([2, 5], "int32"), tf.zeros([2, 2])).numpy().tolist() == [0.0, 0.0]
    assert predicted_tokens(tf.constant(tokens(2, 5))).numpy().tolist() == [4, 2]


def test_encoder_ignores_padding():
    encoder, x = TextEncoder(20, 4, 5, 2), tokens(3, 6)
    longer = np.pad(x, [(0, 0), (0, 4)])
    for short, long in zip(encoder(x), encoder(longer), strict=True):
        np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-6)


def test_word_dropout_takes_words_alone_at_its_rate():
    decoder = _decoder(word_dropout=0.3)
    inputs = tf.constant(np.tile([2, 7, 9, 11, 3, 0], (2000, 1)), tf.int32)
    dropped = decoder._drop_words(inputs, [0, 1]).numpy()
    assert np.array_equal(dropped[:, [0, 4, 5]], inputs.numpy()[:, [0, 4, 5]])
    share = np.mean(dropped[:, 1:4] == 1)
    assert abs(share - 0.3) < 0.02
    assert set(np.unique(dropped)) == {0, 1, 2, 3, 7, 9, 11}


def test_dropout_is_replayed_by_seed_and_off_outside_training():
    decoder, x, z = _decoder(dropout=0.5, word_dropout=0.2), tokens(), tf.ones([4, 2])
    first = decoder.log_prob(x, z, seed=[0, 1], training=True)
    np.testing.assert_array_equal(first, decoder.log_prob(x, z, seed=[0, 1], training=True))
    assert np.abs(first - decoder.log_prob(x, z, seed=[0, 2], training=True)).max() > 1e-3
    plain = decoder.log_prob(x, z, seed=[0, 1])
    np.testing.assert_array_equal(plain, decoder.log_prob(x, z, seed=[0, 2]))


def test_samples_begin_end_and_repeat():
    decoder, z = _decoder(), tf.random.stateless_normal([50, 2], [0, 1])
    rows = decoder.sample(z, seed=3, length=12).numpy()
    assert rows.shape == (50, 13) and np.all(rows[:, 0] == 2)
    assert not np.any(rows[:, 1:] == 2)
    ended = np.cumsum(rows == 3, axis=1) - (rows == 3) > 0
    assert ended.any() and np.all((rows == 0) == ended)
    np.testing.assert_array_equal(rows, decoder.sample(z, seed=3, length=12))
    greedy = decoder.sample(z, seed=1, length=6, temperature=0.0)
    np.testing.assert_array_equal(greedy, decoder.sample(z, seed=2, length=6, temperature=0.0))
