"""Seeds are values: from anything integer, folded and split, the same in every mode."""

import numpy as np
import pytest
import tensorflow as tf

from tf_savae.core import seeds


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (7, [0, 7]),
        (-1, [0, -1]),
        (np.int64(7), [0, 7]),
        ([3, 4], [3, 4]),
        (np.array([3, 4]), [3, 4]),
        (tf.constant(5, tf.int64), [0, 5]),
        (tf.constant([3, 4]), [3, 4]),
    ],
)
def test_seed_from_anything_integer(seed, expected):
    made = seeds.as_seed(seed)
    assert made.dtype == tf.int32 and made.numpy().tolist() == expected


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (None, ValueError, "got None"),
        ([1, 2, 3], ValueError, r"expected shape \[\] or \[2\], got shape \[3\]"),
        ([[1, 2]], ValueError, r"got shape \[1, 2\]"),
        (1.0, TypeError, "expected an integer dtype, got float32"),
        (tf.constant([1.0, 2.0]), TypeError, "got float32"),
        ("one", TypeError, "got string"),
        (True, TypeError, "got bool"),
        (2**31, ValueError, "32-bit.*got 2147483648"),
        (-(2**31) - 1, ValueError, "32-bit"),
        (np.int64(2**40), ValueError, "32-bit"),
        ([0, 2**40], ValueError, "32-bit"),
    ],
)
def test_no_seed(seed, error, message):
    with pytest.raises(error, match="^seed: .*" + message):
        seeds.as_seed(seed)


def test_folded_seeds_differ_and_repeat():
    folded = [tuple(seeds.fold(seed, k).numpy()) for seed in (0, 1, [1, 1]) for k in range(50)]
    assert len(set(folded)) == 150
    again = [tuple(seeds.fold(seed, k).numpy()) for seed in (0, 1, [1, 1]) for k in range(50)]
    assert folded == again


@pytest.mark.parametrize("jit_compile", [False, True])
def test_seeds_are_the_same_in_every_mode(jit_compile):
    """Folding and splitting are: what is drawn from a seed is not, under XLA."""

    @tf.function(jit_compile=jit_compile)
    def made(seed, k):
        return seeds.fold(seed, k), *seeds.split(seed, 3)

    got = [s.numpy().tolist() for s in made(tf.constant([0, 4]), tf.constant(9))]
    expected = [seeds.fold(4, 9), *seeds.split(4, 3)]
    assert got == [s.numpy().tolist() for s in expected]


def test_split_seeds_draw_independent_numbers():
    draws = [tf.random.stateless_normal([2000], s) for s in seeds.split(3, 3)]
    correlations = np.corrcoef(np.stack(draws))[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.1
