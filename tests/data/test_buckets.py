"""Bucket lengths that pad least, and a plan of batches that forgets no sequence."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_savae.data import bucket_lengths, plan_batches
from tf_savae.data.text.buckets import count_batches

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(np.array)


def _positions(lengths, boundaries):
    return sum(min(b for b in boundaries if b >= length) for length in lengths)


@given(lengths=LENGTHS, buckets=st.integers(1, 4), multiple=st.integers(1, 5))
def test_no_other_choice_pads_less(lengths, buckets, multiple):
    chosen = bucket_lengths(lengths, buckets, multiple)
    longest = int(lengths.max())
    candidates = range(multiple, longest, multiple)
    fewest = min(
        _positions(lengths, (*others, longest))
        for count in range(min(buckets, len(candidates) + 1))
        for others in itertools.combinations(candidates, count)
    )
    assert _positions(lengths, chosen) == fewest
    assert len(chosen) <= buckets
    assert chosen == tuple(sorted(set(chosen)))
    assert chosen[-1] == longest
    assert all(length % multiple == 0 for length in chosen[:-1])


def test_equal_lengths_need_one_bucket():
    assert bucket_lengths([7] * 10, buckets=4) == (7,)


def test_thousands_of_distinct_lengths_are_no_trouble():
    lengths = np.arange(1, 8001)
    assert bucket_lengths(lengths, buckets=4) == (2000, 4000, 6000, 8000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one sequence"),
        (([0, 3],), "each of at least 1 token"),
        (([3], 0), "buckets, multiple: expected integers >= 1, got buckets=0, multiple=4"),
        (([3], 1, 0), "buckets, multiple: expected integers >= 1, got buckets=1, multiple=0"),
    ],
)
def test_bucket_lengths_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        bucket_lengths(*arguments)


# The plan


@given(
    lengths=LENGTHS,
    batch_size=st.integers(1, 9),
    buckets=st.integers(1, 4),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
)
def test_every_sequence_comes_once_in_the_bucket_that_fits(
    lengths, batch_size, buckets, shuffle, seed, epoch
):
    boundaries = bucket_lengths(lengths, buckets)
    order = {"shuffle": shuffle, "seed": seed, "epoch": epoch}
    plan = plan_batches(lengths, batch_size, boundaries, **order)
    assert sorted(np.concatenate([batch.rows for batch in plan])) == list(range(len(lengths)))
    for batch in plan:
        smaller = max((b for b in boundaries if b < batch.length), default=0)
        assert 1 <= len(batch.rows) <= batch_size
        assert np.all((lengths[batch.rows] > smaller) & (lengths[batch.rows] <= batch.length))
    partial = [batch.length for batch in plan if len(batch.rows) < batch_size]
    assert len(partial) == len(set(partial))  # at most one a bucket
    assert len(plan) == count_batches(lengths, batch_size, boundaries)


def test_without_shuffle_lengths_ascend_and_rows_keep_their_order():
    plan = plan_batches(np.array([5, 2, 5, 2, 2]), 2, (3, 6))
    assert [(b.length, b.rows.tolist()) for b in plan] == [(3, [1, 3]), (3, [4]), (6, [0, 2])]


def _order(seed, epoch):
    lengths = np.random.default_rng(0).integers(3, 30, 200)
    plan = plan_batches(lengths, 8, (10, 20, 30), shuffle=True, seed=seed, epoch=epoch)
    return [(batch.length, *batch.rows) for batch in plan]


def test_seed_and_epoch_alone_decide_the_order():
    assert _order(3, 1) == _order(3, 1)
    orders = [_order(0, 0), _order(0, 1), _order(1, 0), _order(1, 1)]
    for one, other in itertools.combinations(orders, 2):
        assert one != other
        assert {frozenset(b) for b in one} != {frozenset(b) for b in other}


def test_shuffled_buckets_come_mixed():
    lengths = [batch[0] for batch in _order(0, 0)]
    assert lengths != sorted(lengths)
    assert lengths != sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "order", "message"),
    [
        ((0, (9,)), {}, "batch_size: expected an integer >= 1, got 0"),
        ((2, ()), {}, r"boundaries: expected ascending bucket lengths >= 1, got \(\)"),
        ((2, (9, 9)), {}, r"got \(9, 9\)"),
        ((2, (0, 9)), {}, r"got \(0, 9\)"),
        ((2, (4, 6)), {}, r"2 sequences are longer \(up to 9 tokens.* last bucket length 6. Raise"),
        ((2, (4, 6)), {}, "or read the text with max_words=4"),
        ((2, (9,)), {"seed": -1}, "seed, epoch: expected integers >= 0, got seed=-1, epoch=0"),
        ((2, (9,)), {"epoch": -1}, "seed, epoch: expected integers >= 0, got seed=0, epoch=-1"),
    ],
)
def test_plan_says_what_is_wrong(arguments, order, message):
    with pytest.raises(ValueError, match=message):
        plan_batches(np.array([3, 7, 9]), *arguments, **order)
