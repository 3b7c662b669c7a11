"""Mutual information, importance weighting's own accuracy, and the callback."""

import csv
import math

import keras
import linear_gaussian as known
import numpy as np
import pytest
import tensorflow as tf

from tf_savae.evaluation import (
    EvaluatePosterior,
    importance_weighting,
    inference_gap,
    mutual_information,
)
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.evaluation.importance_weights import weighting_of
from tf_savae.probability import DiagonalGaussian, FullCovarianceGaussian


def _channel(count, variance, seed=0):
    """Posteriors N(m_n, variance) with m_n ~ N(0, 1): I(x; z) = log(1 + 1 / variance) / 2 each."""
    means = np.random.default_rng(seed).normal(size=(count, len(variance)))
    return means, np.log(variance) + 0 * means


def test_information_of_a_gaussian_channel():
    variance = np.array([0.5, 4.0])
    found = mutual_information(DiagonalGaussian(), _channel(3000, variance), samples=2)
    exact = 0.5 * np.log1p(1 / variance).sum()
    assert found.estimate == pytest.approx(exact, abs=0.03)
    assert abs(found.estimate - exact) < 4 * found.standard_error
    assert found.cap == pytest.approx(math.log(3000)) and not found.saturated


def test_information_of_another_family():
    means, log_variance = _channel(1000, np.array([0.5]))
    scale = 0.5 * log_variance
    found = mutual_information(FullCovarianceGaussian(), (means, scale))
    assert found.estimate == pytest.approx(0.5 * math.log(3.0), abs=0.07)


def test_small_samples_underestimate_and_never_pass_their_cap(caplog):
    variance = np.array([1e-4, 1e-4])  # 9.2 nats, where 20 examples can show 3.0 at most.
    estimates = [
        mutual_information(DiagonalGaussian(), _channel(20, variance, seed), seed=seed)
        for seed in range(5)
    ]
    assert all(found.estimate <= math.log(20) and found.saturated for found in estimates)
    assert "the true value may be much larger" in caplog.text


def test_a_collapsed_posterior_has_none():
    zeros = np.zeros([50, 3])
    found = mutual_information(DiagonalGaussian(), (zeros, zeros))
    assert found.estimate == pytest.approx(0.0, abs=1e-9)


def test_a_negative_estimate_warns(caplog):
    variance = np.array([1000.0])
    draws = (mutual_information(DiagonalGaussian(), _channel(9, variance), 1, s) for s in range(20))
    negative = next(found for found in draws if found.estimate < 0)
    assert negative.estimate > -0.1
    assert "below 0, the least possible value" in caplog.text


@pytest.mark.parametrize(
    ("means", "message"),
    [(np.zeros([1, 2]), "at least 2 examples"), (np.full([3, 2], np.nan), "6 NaN or infinite")],
)
def test_information_refuses(means, message):
    with pytest.raises(ValueError, match=message):
        mutual_information(DiagonalGaussian(), (means, np.zeros_like(means)))


@pytest.fixture(scope="module")
def model():
    """Eight samples a step: its refined posterior is near the best of its family."""
    return known.model(steps=40, samples=8)


def _dataset(count=12, size=6):
    return tf.data.Dataset.from_tensor_slices(known.data(count)).batch(size)


def test_estimates_agree_with_the_exact_likelihood(model):
    exact = known.nll(known.data())
    for steps in (0, None):
        found = importance_weighting(model, _dataset(), 300, steps, chunk=100)
        # The delta method's spread is a good one while there are many effective samples.
        assert (np.abs(found.nll - exact) < 5 * found.spread + 0.02).all()
        assert 0 < found.monte_carlo_error < found.spread.max()
        expected = found.nll.std(ddof=1) / math.sqrt(12)
        assert found.standard_error == pytest.approx(expected)


def test_the_refined_proposal_is_tighter(model):
    """With few samples: both are bounds from above."""
    encoder, refined = (
        importance_weighting(model, _dataset(60, 60), 4, steps).mean for steps in (0, None)
    )
    exact = known.nll(known.data(60)).mean()
    assert exact - 0.1 < refined < encoder - 0.1


def test_chunks_draw_the_same_distribution(model):
    """7 does not divide 40: the last chunk is cut, and no sample counts twice."""
    exact = known.nll(known.data())
    for chunk in (1, 7):
        found = importance_weighting(model, _dataset(), 40, chunk=chunk)
        assert (np.abs(found.nll - exact) < 6 * found.spread + 0.05).all()
        assert (found.effective_samples <= 40 + 1e-9).all()


def test_weights_are_summed_without_overflow():
    """Weights e^-1000 and e^-2000 in float64: their mean's logarithm is -1000 - log 2."""
    weights = np.array([[-1000.0, 1e6], [-2000.0, 1e6]])
    found = weighting_of(weights)
    np.testing.assert_allclose(found.nll, [1000 + math.log(2), -1e6], rtol=1e-12)
    np.testing.assert_allclose(found.effective_samples, [1.0, 2.0])
    np.testing.assert_allclose(found.spread, [1.0, 0.0])
    assert np.isnan(weighting_of(weights[:1]).spread).all()  # One sample knows no spread.


def test_spread_is_that_of_repeated_estimates():
    """Log-normal weights, 200 estimates of 100 samples each."""
    runs = weighting_of(np.random.default_rng(0).normal(scale=0.7, size=(100, 200)))
    assert runs.spread.mean() == pytest.approx(runs.nll.std(ddof=1), rel=0.1)


def test_an_empty_dataset_is_refused():
    data = tf.data.Dataset.from_tensor_slices((np.ones([2, 3]), [0, 0], [0.0, 0.0])).batch(2)
    with pytest.raises(ValueError, match="at least one example of weight above 0"):
        one_pass(lambda x, seed: x, data)


def test_chunk_must_be_positive(model):
    with pytest.raises(ValueError, match="chunk: expected an integer >= 1"):
        importance_weighting(model, _dataset(), chunk=0)


def test_the_callback_writes_into_logs_that_others_see(model, tmp_path):
    posterior = EvaluatePosterior(_dataset(), every=2, samples=5, steps=1)
    table = tmp_path / "log.csv"
    trained = known.model(steps=1)
    history = trained.fit(
        known.data(),
        epochs=2,
        batch_size=6,
        verbose=0,
        callbacks=[posterior, keras.callbacks.CSVLogger(str(table))],
    ).history
    assert math.isnan(history["val_iw_nll"][0])
    rows = list(csv.DictReader(table.open()))
    for name in ("iw_nll", "posterior_kl", "mutual_information", "active_units"):
        assert float(rows[1][f"val_{name}"]) == pytest.approx(history[f"val_{name}"][1])
    assert abs(history["val_iw_nll"][1] - known.nll(known.data()).mean()) < 2
    assert -0.5 < history["val_mutual_information"][1] <= math.log(12)


def test_the_gap_uses_the_reported_noise_only_once(model):
    """lambda* is judged by other noise than it was chosen by, and both are repeatable."""
    settings = {"optimisation_steps": 20, "samples": 5, "noises": 5, "steps": 1}
    first, again = (inference_gap(model, _dataset(6), seed=3, **settings) for _ in range(2))
    np.testing.assert_array_equal(first.optimal, again.optimal)
    assert not np.allclose(first.optimal, first.history[:, -1])


def test_an_example_whose_weights_are_all_zero():
    """Its likelihood is 0, not NaN, and the others' numbers are their own."""
    found = weighting_of([[-np.inf, 0.0], [-np.inf, 0.0]])
    assert found.nll.tolist() == [np.inf, 0.0]
    assert found.effective_samples.tolist() == [0.0, 2.0]
    assert found.spread.tolist() == [np.inf, 0.0]
