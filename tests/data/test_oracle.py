"""The oracle's data: seeded, of the right shape, and drawn from a normalised distribution."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.data.oracle import draw_oracle_data
from tf_savae.networks import OracleDecoder


def _decoder(vocabulary=5, seed=0):
    decoder = OracleDecoder(vocabulary, units=8, seed=seed)
    decoder(tf.zeros([1, 2], tf.int32), tf.zeros([1, 2]))
    return decoder


def _draw(seed, sizes=(30, 20, 10), oracle_seed=0):
    decoder = _decoder(20, oracle_seed)
    return draw_oracle_data(
        lambda z, noise: decoder.sample(z, noise, length=4), sizes, vocabulary_size=20, seed=seed
    )


def test_shapes_dtype_and_words():
    data = _draw(0)
    assert [part.shape for part in data] == [(30, 4), (20, 4), (10, 4)]
    assert {part.dtype for part in data} == {np.dtype("int32")}
    assert min(part.min() for part in data) >= 0
    assert max(part.max() for part in data) < 20


def test_the_seed_decides_everything():
    first, again, other = _draw(3), _draw(3), _draw(4)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_the_sets_differ_and_do_not_depend_on_one_another():
    same = _draw(3, (10, 10, 10))
    assert (same.train != same.validation).any() and (same.train != same.test).any()
    np.testing.assert_array_equal(_draw(3, (30, 20, 10)).test, _draw(3, (7, 5, 10)).test)


def test_the_oracle_seed_decides_its_weights():
    first, again, other = (_decoder(seed=s).get_weights() for s in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    changed = [(a != b).any() for a, b in zip(first, other, strict=True) if a.any()]
    assert len(changed) > 5 and all(changed)


def test_probabilities_of_all_sentences_sum_to_one():
    decoder = _decoder()
    rows = tf.constant(list(itertools.product(range(5), repeat=2)))
    for z in ([0.0, 0.0], [1.5, -2.0]):
        log_prob = decoder.log_prob(rows, tf.tile([z], [25, 1]))
        assert float(tf.reduce_sum(tf.exp(log_prob))) == pytest.approx(1.0, abs=1e-5)


def test_samples_follow_the_probabilities():
    """Frequencies of 20,000 sentences against p(x | z), within 5 standard errors."""
    decoder, count = _decoder(), 20_000
    rows = np.array(list(itertools.product(range(5), repeat=2)))
    z = tf.tile([[0.7, -0.3]], [count, 1])
    drawn = decoder.sample(z, seed=[1, 2], length=2).numpy()
    frequency = np.bincount(drawn @ [5, 1], minlength=25) / count
    probability = np.exp(decoder.log_prob(tf.constant(rows, tf.int32), z[:25]).numpy())
    error = np.sqrt(probability * (1 - probability) / count)
    np.testing.assert_array_less(np.abs(frequency - probability), 5 * error + 1e-4)


def test_z_matters_to_the_oracle():
    decoder = OracleDecoder(50, units=16)
    rows = decoder.sample(tf.tile([[2.0, 0.0]], [50, 1]), seed=0, length=5)
    own, opposite = (decoder(rows, tf.tile([[s, 0.0]], [50, 1])) for s in (2.0, -2.0))
    assert float(tf.reduce_mean(own - opposite)) > 1.0


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, -1, 1), (1, 1, 1.5)])
def test_sizes_are_checked(sizes):
    with pytest.raises(ValueError, match="expected an integer >= 1"):
        _draw(0, sizes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda n: tf.fill([n, 3], 5), "expected token ids from 0 to 4, got 5 to 5"),
        (lambda n: tf.zeros([n, 3]), r"expected integer rows \[2, T\] for the train set"),
        (lambda n: tf.zeros([n + 1, 3], tf.int32), r"got int32 \[3, 3\]"),
    ],
)
def test_a_wrong_sampler_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        draw_oracle_data(lambda z, seed: rows(len(z)), (2, 2, 2), vocabulary_size=5)
