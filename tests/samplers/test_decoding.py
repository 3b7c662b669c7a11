"""Decoding of text against enumeration: sampling, its restrictions, beams; noise by row."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.networks import TextDecoder
from tf_savae.samplers import decoding
from tf_savae.samplers.decoding import choice_by_row, sample_tokens
from tf_savae.samplers.per_row import map_rows, row_seeds, row_uniforms

V, T, END = 7, 3, 3
WORDS = (1, 3, 4, 5, 6)  # all but <pad> and <s>


def _decoder(latent_size=2, scale=2.0, **sizes):
    keras.utils.set_random_seed(3)
    sizes = {"embedding_size": 4, "units": 5, **sizes}
    return TextDecoder(V, **sizes, latent_size=latent_size, dropout=0.0, initial_scale=scale)


def _rows(sequences):
    rows = np.zeros([len(sequences), T + 1], np.int32)
    for row, words in zip(rows, sequences, strict=True):
        row[: len(words) + 1] = [2, *words]
    return rows


def _log_prob(decoder, sequences, z):
    """log p of each tuple of tokens given one z [1, Z], by the decoder's own `log_prob`."""
    rows = _rows(sequences)
    return decoder.log_prob(tf.constant(rows), tf.repeat(z, len(rows), axis=0)).numpy()


def _next_words(decoder, z):
    """{prefix: probabilities [V] of what follows it, as the model has them}."""
    prefixes = [p for n in range(T) for p in itertools.product([1, 4, 5, 6], repeat=n)]
    longer = [(*p, word) for p in prefixes for word in WORDS]
    shares = _log_prob(decoder, longer, z).reshape(len(prefixes), -1)
    shares = np.exp(shares - _log_prob(decoder, prefixes, z)[:, None])
    probabilities = np.zeros([len(prefixes), V])
    probabilities[:, WORDS] = shares
    return dict(zip(prefixes, probabilities, strict=True))


def _restricted(p, temperature=1.0, top_k=None, top_p=None):
    """The definition, in NumPy: temperature, then the top_k, then the nucleus."""
    p = np.where(p > 0, p, 0.0) ** (1 / temperature)
    order = np.argsort(-p, kind="stable")[: top_k or V]
    kept = p[order] / p[order].sum()
    if top_p is not None:
        kept = kept[: np.searchsorted(np.cumsum(kept), top_p) + 1]
        order = order[: len(kept)]
    answer = np.zeros(V)
    answer[order] = kept / kept.sum()
    return answer


def _exact(decoder, z, **restrictions):
    """{sequence: its probability} under restricted sampling, by enumeration."""
    following = {k: _restricted(p, **restrictions) for k, p in _next_words(decoder, z).items()}
    found, open_prefixes = {}, {(): 1.0}
    for _ in range(T):
        grown = {
            (*prefix, word): chance * following[prefix][word]
            for prefix, chance in open_prefixes.items()
            for word in WORDS
            if following[prefix][word] > 0
        }
        found |= {s: p for s, p in grown.items() if s[-1] == END}
        open_prefixes = {s: p for s, p in grown.items() if s[-1] != END}
    return found | open_prefixes


def _tuples(rows):
    return [tuple(row[row != 0][1:]) for row in np.asarray(rows)]


@pytest.mark.parametrize(
    "restrictions",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 2},
        {"top_p": 0.6},
        {"temperature": 1.5, "top_k": 4, "top_p": 0.8},
    ],
    ids=str,
)
def test_samples_have_the_exact_probabilities(restrictions):
    decoder, count = _decoder(), 6000
    z = tf.constant([[0.5, -1.0]])
    expected = _exact(decoder, z, **restrictions)
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)
    draw = tf.function(lambda z: decoder.sample(z, 5, T, **restrictions), autograph=False)
    drawn = _tuples(draw(tf.repeat(z, count, axis=0)))
    assert set(drawn) <= set(expected)  # Nothing outside of the defined sets, ever.
    common = {s: p * count for s, p in expected.items() if p * count >= 5}
    missed = count - sum(common.values())
    got = [drawn.count(s) for s in common] + [sum(s not in common for s in drawn)]
    wanted = [*common.values(), max(missed, 1e-9)]
    cells = [(g, w) for g, w in zip(got, wanted, strict=True) if w >= 1]
    chi_square = sum((g - w) ** 2 / w for g, w in cells)
    assert len(cells) > 3
    assert chi_square < len(cells) + 4 * np.sqrt(2 * len(cells))


def test_restrictions_keep_exactly_their_sets():
    """At ties too: of equal tokens the lower id stays."""
    logits = np.log(np.array([[0.1, 0.3, 0.3, 0.1, 0.2]], np.float32))
    many = np.repeat(logits, 60, axis=0)

    def support(**restrictions):
        choose = choice_by_row(1, 60, 4, **restrictions)
        drawn = [choose(tf.constant(many), time).numpy() for time in range(4)]
        return sorted(set(np.concatenate(drawn).tolist()))

    assert support() == [0, 1, 2, 3, 4]
    assert support(top_k=1) == [1]
    assert support(top_k=2) == [1, 2]
    assert support(top_k=4) == [0, 1, 2, 4]
    assert support(top_k=50) == [0, 1, 2, 3, 4]
    assert support(top_p=0.29) == [1]
    assert support(top_p=0.31) == [1, 2]
    assert support(top_p=0.79) == [1, 2, 4]
    assert support(top_p=1.0) == [0, 1, 2, 3, 4]
    assert support(top_k=3, top_p=0.7) == [1, 2]  # 3/8 and 3/8 of the three reach 0.7.
    assert support(forbidden=(1, 4)) == [0, 2, 3]
    assert support(temperature=0.0, forbidden=(1,)) == [2]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("top_p", [1e-4, 0.2718281, 0.7310585, 0.9999])
def test_the_nucleus_is_the_sorted_one(top_p, jit_compile):
    """Rows with many ties and zeros, one certain word, and words too rare to count."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, [300, 23]) * 10.0 ** -rng.integers(0, 9, [300, 1])
    weights[:, 7] += 1.0
    weights[0] = np.arange(23) == 5
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    wide = probabilities.astype(np.float64)
    order = np.argsort(-wide, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(wide, order, 1), axis=1)
    assert np.abs(before - top_p).min() > 1e-12  # No sum is a matter of rounding.
    before = np.roll(before, 1, axis=1)
    before[:, 0] = 0.0
    inside = np.zeros_like(wide, bool)
    np.put_along_axis(inside, order, before < top_p, 1)
    nucleus = tf.function(decoding._nucleus, jit_compile=jit_compile, autograph=False)
    found = nucleus(tf.constant(probabilities), top_p).numpy()
    np.testing.assert_array_equal(found, np.where(inside, probabilities, 0.0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_beam_as_wide_as_there_are_sequences_finds_the_best(jit_compile):
    decoder = _decoder()
    z = tf.random.stateless_normal([4, 2], [0, 1])
    width = V**T
    search = tf.function(decoder.beam_search, jit_compile=jit_compile, autograph=False)
    for penalty in (0.0, 1.0):
        rows, scores = search(z, length=T, beam_size=width, length_penalty=penalty)
        for index in range(4):
            expected = _beams_by_enumeration(decoder, z[index : index + 1], penalty)
            real = np.isfinite(scores[index])
            assert real.sum() == len(expected)  # Each sequence once, none left out.
            found = _tuples(rows[index][real])
            assert found[0] == expected[0][0]
            assert sorted(found) == sorted(sequence for sequence, _ in expected)
            own = _log_prob(decoder, found, z[index : index + 1])
            np.testing.assert_allclose(scores[index][real], own, rtol=1e-4, atol=1e-4)


def _beams_by_enumeration(decoder, z, penalty):
    """All (sequence, rank), best first: ended ones, and those of full length."""
    ended = [(*p, END) for n in range(T) for p in itertools.product([1, 4, 5, 6], repeat=n)]
    sequences = ended + list(itertools.product([1, 4, 5, 6], repeat=T))
    log_probs = _log_prob(decoder, sequences, z)
    ranks = [p / ((5 + len(s)) / 6) ** penalty for s, p in zip(sequences, log_probs, strict=True)]
    return sorted(zip(sequences, ranks, strict=True), key=lambda pair: -pair[1])


def test_one_beam_is_greedy_and_more_are_not_worse():
    decoder = _decoder(units=8)
    z = tf.random.stateless_normal([20, 2], [0, 2])
    greedy = decoder.sample(z, length=8, decoding="greedy")
    beams = {w: decoder.beam_search(z, 8, w, length_penalty=0.0) for w in (1, 4)}
    np.testing.assert_array_equal(beams[1][0][:, 0], greedy)
    np.testing.assert_allclose(beams[1][1][:, 0], decoder.log_prob(greedy, z), rtol=1e-4)
    gain = beams[4][1][:, 0] - beams[1][1][:, 0]
    assert np.mean(gain) > 0.01 and np.mean(gain > -1e-4) > 0.9
    best = decoder.sample(z, length=8, decoding="beam", beam_size=4, length_penalty=0.0)
    np.testing.assert_array_equal(best, beams[4][0][:, 0])
    assert np.all(np.diff(beams[4][1], axis=1) <= 0)


def test_greedy_is_temperature_zero_and_needs_no_seed():
    decoder, z = _decoder(), tf.random.stateless_normal([5, 2], [0, 2])
    greedy = decoder.sample(z, length=6, decoding="greedy")
    np.testing.assert_array_equal(greedy, decoder.sample(z, seed=9, length=6, temperature=0.0))


def _sampler(decoder, **options):
    """Compiled once for all batch sizes, or under XLA once for each."""
    signature = [tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2], tf.int32)]
    options = {"input_signature": signature, **options}
    return tf.function(
        lambda z, own: decoder.sample(z, own, length=9, temperature=1.3, top_k=5, top_p=0.95),
        autograph=False,
        **options,
    )


def test_rows_do_not_depend_on_their_batch():
    decoder = _decoder(latent_size=3)
    sample = _sampler(decoder)
    z = tf.random.stateless_normal([8, 3], [0, 1])
    together = sample(z, row_seeds(4, 8)).numpy()
    assert len({tuple(row) for row in together}) > 4
    for cut in range(1, 8):
        first = sample(z[:cut], row_seeds(4, cut))
        rest = sample(z[cut:], row_seeds(4, 8 - cut, first=cut))
        np.testing.assert_array_equal(np.concatenate([first, rest]), together)
    np.testing.assert_array_equal(decoder.sample(z, 4, 9, 1.3, 5, 0.95), together)  # Eager.


def test_rows_do_not_depend_on_xla_nor_on_their_batch_under_it():
    decoder = _decoder(latent_size=3)
    z = tf.random.stateless_normal([8, 3], [0, 1])
    compiled = _sampler(decoder, jit_compile=True, input_signature=None)
    parts = [compiled(z[i : i + 4], row_seeds(4, 4, first=i)) for i in (0, 4)]
    together = _sampler(decoder)(z, row_seeds(4, 8))
    np.testing.assert_array_equal(np.concatenate(parts), together)
    np.testing.assert_array_equal(compiled(z, row_seeds(4, 8)), together)


def test_without_a_latent_code():
    decoder = _decoder(latent_size=0)
    rows = decoder.sample(tf.zeros([6, 0]), seed=1, length=5).numpy()
    assert rows.shape == (6, 6) and len({tuple(row) for row in rows}) > 1
    best = decoder.sample(tf.zeros([2, 0]), length=5, decoding="beam").numpy()
    np.testing.assert_array_equal(best[0], best[1])


def test_uniform_numbers_are_uniform_and_the_same_everywhere():
    own = row_seeds(seeds.as_seed(5), 300)
    numbers = row_uniforms(own, 40).numpy()
    compiled = tf.function(row_uniforms, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(numbers, compiled(own, 40))
    np.testing.assert_array_equal(numbers[:, :7], row_uniforms(own, 7))
    np.testing.assert_array_equal(numbers[10:12], row_uniforms(row_seeds(5, 2, first=10), 40))
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.abs(np.histogram(numbers, 10, (0, 1))[0] - 1200).max() < 4 * np.sqrt(1080)
    assert np.abs(np.corrcoef(numbers[:, :20].T) - np.eye(20)).max() < 0.25  # 4 / sqrt(300)


def test_mapped_rows_equal_rows_alone():
    mean = tf.random.stateless_normal([6, 2], [0, 1])

    def draw(seed, mean):
        return mean + tf.random.stateless_normal(tf.shape(mean), seed)

    own = row_seeds(3, 6)
    alone = np.concatenate([draw(own[i], mean[i : i + 1]) for i in range(6)])
    np.testing.assert_array_equal(map_rows(draw, own, mean), alone)


def test_one_noise_for_the_batch_draws_what_it_always_drew():
    """The oracle's data hang on it: tokens of `stateless_categorical` with (seed, time)."""
    logits = tf.random.stateless_normal([4, 9], [0, 1])
    rows = sample_tokens(lambda tokens, state: (logits, state), (), 4, 3, 7, end=None).numpy()
    for time in range(3):
        now = seeds.fold(seeds.as_seed(7), time)
        expected = tf.random.stateless_categorical(logits, 1, now, dtype=tf.int32)[:, 0]
        np.testing.assert_array_equal(rows[:, time + 1], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature: expected a finite number >= 0"),
        ({"top_k": 0}, "top_k: expected an integer >= 1"),
        ({"top_p": 0.0}, r"top_p: expected a number in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p: expected a number in \[0, 1\]"),
        ({"length": 0}, "length: expected an integer >= 1"),
        ({"decoding": "best"}, "decoding: expected one of sample, greedy, beam; got 'best'"),
        ({"decoding": "beam", "beam_size": 0}, "beam_size: expected an integer >= 1"),
        ({"decoding": "beam", "length_penalty": -1}, "length_penalty: expected a finite number"),
        ({"seed": tf.zeros([3, 2], tf.int32)}, r"one seed for each row, shape \[2, 2\]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        _decoder().sample(tf.zeros([2, 2]), **options)
