"""Batches as tf.data: exact shapes and weights, orders that can be resumed, and Keras' fit."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae.data import (
    TextCorpus,
    Vocabulary,
    batches,
    bucket_lengths,
    steps_per_epoch,
    training_stream,
)

WORDS = [f"w{i}" for i in range(30)]
VOCABULARY = Vocabulary(WORDS)


def _corpus(lines=150, longest=25):
    rng = np.random.default_rng(5)
    counts = rng.integers(1, longest + 1, lines)
    return TextCorpus.encode([" ".join(rng.choice(WORDS, count)) for count in counts], VOCABULARY)


@pytest.fixture(scope="module")
def corpus():
    return _corpus()


def _as_lists(dataset):
    return [(tokens.numpy().tolist(), weights.numpy().tolist()) for tokens, _, weights in dataset]


# One pass


def test_specification_has_a_static_batch_and_an_open_length(corpus):
    tokens, target, weights = batches(corpus, 8).element_spec
    assert tokens == tf.TensorSpec([8, None], tf.int32)
    assert type(target).__name__ == "NoneTensorSpec"
    assert weights == tf.TensorSpec([8], tf.float32)


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_batch_is_full_and_holds_each_sequence_once(corpus, shuffle):
    boundaries = bucket_lengths(corpus.lengths, 3)
    seen = []
    for tokens, target, weights in batches(corpus, 8, boundaries=boundaries, shuffle=shuffle):
        assert target is None
        assert tokens.shape[0] == weights.shape[0] == 8
        assert tokens.shape[1] in boundaries
        for row, weight in zip(tokens.numpy(), weights.numpy(), strict=True):
            assert weight in (0.0, 1.0)
            if weight:
                seen.append(tuple(np.trim_zeros(row, "b")))
            else:
                assert not row.any()
    assert sorted(seen) == sorted(tuple(row) for row in corpus.sequences)


def test_cardinality_is_the_number_of_batches(corpus):
    for batch_size in (1, 7, 200):
        dataset = batches(corpus, batch_size, buckets=3, shuffle=True)
        assert int(dataset.cardinality()) == len(list(dataset))
        assert int(dataset.cardinality()) == steps_per_epoch(corpus, batch_size, buckets=3)
    assert int(batches(corpus, 8, skip=4).cardinality()) == steps_per_epoch(corpus, 8) - 4


def test_boundaries_of_another_text(corpus):
    shapes = {tokens.shape[1] for tokens, _, _ in batches(corpus, 8, boundaries=(16, 40))}
    assert shapes == {16, 40}


def test_a_pass_can_be_repeated_and_skipped_into(corpus):
    order = {"shuffle": True, "seed": 4, "epoch": 2}
    whole = _as_lists(batches(corpus, 8, **order))
    dataset = batches(corpus, 8, skip=5, **order)
    assert _as_lists(dataset) == _as_lists(dataset) == whole[5:]
    assert _as_lists(batches(corpus, 8, skip=len(whole), **order)) == []


# The endless stream


def test_stream_is_the_passes_one_after_another(corpus):
    steps = steps_per_epoch(corpus, 16)
    passes = [_as_lists(batches(corpus, 16, shuffle=True, seed=9, epoch=e)) for e in range(3)]
    stream = training_stream(corpus, 16, seed=9)
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
    assert _as_lists(stream.take(3 * steps)) == sum(passes, [])
    assert passes[0] != passes[1]


@pytest.mark.parametrize("start", [1, 10, 11, 30])
def test_stream_resumes_anywhere(corpus, start):
    assert steps_per_epoch(corpus, 16) == 11
    whole = _as_lists(training_stream(corpus, 16, seed=9).take(40))
    resumed = training_stream(corpus, 16, seed=9, start_step=start).take(40 - start)
    assert _as_lists(resumed) == whole[start:]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: batches(c, 0), "batch_size: expected an integer >= 1, got 0"),
        (
            lambda c: batches(c, 8, buckets=0),
            "buckets, multiple: expected integers >= 1, got buckets=0",
        ),
        (lambda c: batches(c, 8, skip=-1), "skip: expected 0 to .* of a pass, got -1"),
        (
            lambda c: batches(c, 200, buckets=1, skip=2),
            "expected 0 to 1, the number of batches .* got 2",
        ),
        (lambda c: batches(c, 8, boundaries=(5,)), "are longer .* than the last bucket length 5"),
        (
            lambda c: training_stream(c, 8, start_step=-1),
            "start_step: expected an integer >= 0, got -1",
        ),
        (
            lambda c: training_stream(c, 8, seed=-1),
            "seed, epoch: expected integers >= 0, got seed=-1",
        ),
        (lambda c: training_stream(c, 8, boundaries=(5,)), "are longer"),
        (lambda c: steps_per_epoch(c, 8, boundaries=(5,)), "are longer"),
    ],
)
def test_errors_come_at_the_call(corpus, call, message):
    with pytest.raises(ValueError, match=message):
        call(corpus)


# Under Keras


class Unigram(keras.Model):
    """The log-frequencies of tokens, and a checksum of which batch came in which step."""

    def __init__(self):
        super().__init__()
        self.logits = self.add_weight(shape=(len(VOCABULARY),), initializer="zeros")
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.checksum = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.total = keras.metrics.Sum(name="nll")
        self.built = True

    def nll(self, data):
        tokens, target, weights = keras.utils.unpack_x_y_sample_weight(data)
        assert target is None
        assert tokens.shape.as_list() == [tokens.shape[0], None]
        targets = tokens[:, 1:]
        losses = -tf.gather(tf.nn.log_softmax(self.logits), targets)
        masked = tf.where(targets != 0, losses, 0.0)
        return tokens, tf.reduce_sum(tf.reduce_sum(masked, axis=1) * weights)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            tokens, loss = self.nll(data)
        gradients = tape.gradient(loss, [self.logits.value])
        self.optimizer.apply_gradients(zip(gradients, [self.logits], strict=True))
        self.step.assign_add(1.0)
        self.checksum.assign_add(self.step * tf.cast(tf.reduce_sum(tokens) % 101, tf.float32))
        self.total.update_state(loss)
        return {"nll": self.total.result()}

    def test_step(self, data):
        self.total.update_state(self.nll(data)[1])
        return {"nll": self.total.result()}


def _model():
    model = Unigram()
    model.compile(keras.optimizers.SGD(0.001), jit_compile=True)
    return model


def _checksum(datasets):
    sums = [int(tf.reduce_sum(t)) % 101 for t, _, _ in itertools.chain.from_iterable(datasets)]
    return sum(step * value for step, value in enumerate(sums, start=1))


def test_fit_takes_the_stream_in_order_and_loses_nothing(corpus):
    model, steps = _model(), steps_per_epoch(corpus, 16)
    stream = training_stream(corpus, 16, seed=1)
    history = model.fit(stream, steps_per_epoch=steps, epochs=3, shuffle=False, verbose=0)
    assert int(model.step) == 3 * steps
    passes = [batches(corpus, 16, shuffle=True, seed=1, epoch=e) for e in range(3)]
    assert int(model.checksum) == _checksum(passes)
    assert history.history["nll"][2] < history.history["nll"][0]


def test_padding_and_filling_change_no_number(corpus):
    model = _model()
    model.logits.assign(np.random.default_rng(0).normal(size=len(VOCABULARY)))
    log_p = tf.nn.log_softmax(tf.cast(model.logits.value, tf.float64)).numpy()
    expected = -sum(log_p[row[1:]].sum() for row in corpus.sequences)
    for batch_size, boundaries in ((8, None), (64, (40,)), (1, (27,))):
        dataset = batches(corpus, batch_size, boundaries=boundaries)
        found = model.evaluate(dataset, verbose=0, return_dict=True)["nll"]
        assert found == pytest.approx(expected, rel=1e-6)


def fit_counting_programs():
    """Runs in a process of its own, whose XLA_FLAGS write every compiled program to a folder."""
    corpus = _corpus()
    model, steps = _model(), steps_per_epoch(corpus, 16, boundaries=(8, 16, 27))
    stream = training_stream(corpus, 16, boundaries=(8, 16, 27))
    model.fit(stream, steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0)


def test_xla_compiles_the_train_step_once_a_bucket(tmp_path):
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    here = Path(__file__)
    helpers = here.parents[1] / "helpers"
    paths = os.pathsep.join([str(here.parent), str(helpers), *filter(None, sys.path)])
    subprocess.run(
        [sys.executable, "-c", f"import {here.stem}; {here.stem}.fit_counting_programs()"],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths},
        check=True,
        timeout=300,
    )
    programs = [path.name for path in tmp_path.glob("*before_optimizations.txt")]
    assert len([name for name in programs if "one_step_on_data" in name]) == 3, programs
