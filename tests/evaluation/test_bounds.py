"""Evaluation against a model whose likelihood and posterior are known: linear and Gaussian."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_savae import SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.evaluation import active_units, evaluate_bounds, importance_weighted_nll
from tf_savae.evaluation.dataset_pass import one_pass
from tf_savae.networks import DistributionDecoder

W = np.array([[1.0, 0.5, -0.5], [0.0, 0.0, 0.0]], np.float32)  # The second latent is not used.
X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def _exact_nll(x):
    covariance = W.T @ W + np.eye(3)
    quadratic = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    return 0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])


@pytest.fixture(scope="module")
def model():
    """x = z W + noise; the encoder proposes the prior, so refinement has all to do."""
    decoder = DistributionDecoder(keras.layers.Dense(3, use_bias=False), "normal")
    refinement = SemiAmortizedRefinement(steps=60, step_size=0.1, samples=8, clip_norm=None)
    encoder = keras.layers.Dense(4, kernel_initializer="zeros")
    model = SemiAmortizedVAE(encoder, decoder, refinement=refinement, latent_size=2)
    model.compile(jit_compile=False)
    model(X[:2])
    decoder.network.set_weights([W])
    return model


def _batches(x=X, size=8, pad=True):
    weights = np.ones(len(x), np.float32)
    if pad:
        filling = -len(x) % size
        x = np.concatenate([x, np.full([filling, 3], 1e3, np.float32)])
        weights = np.concatenate([weights, np.zeros(filling, np.float32)])
    y = np.zeros_like(weights)
    return tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(size)


def test_importance_weighting_approaches_the_exact_likelihood(model):
    estimate = importance_weighted_nll(model, _batches(), samples=400)
    assert estimate.shape == (20,) and estimate.dtype == np.float64
    np.testing.assert_allclose(estimate, _exact_nll(X), atol=0.1)
    np.testing.assert_allclose(estimate.mean(), _exact_nll(X).mean(), atol=0.02)


def test_rows_of_weight_zero_are_left_out(model):
    padded = evaluate_bounds(model, _batches(), steps=1)
    assert padded.bound.shape == (20,) and padded.mean.shape == (20, 2)
    assert padded.bound.max() < 100  # The filling rows would be far above.
    plain = evaluate_bounds(model, tf.data.Dataset.from_tensor_slices(X).batch(20), steps=1)
    assert plain.bound.shape == (20,)


def test_bounds_are_bounds_and_refinement_closes_the_gap(model):
    bounds = evaluate_bounds(model, _batches())
    exact = _exact_nll(X).mean()
    np.testing.assert_allclose(bounds.bound, bounds.nll + bounds.kl)
    np.testing.assert_allclose(bounds.amortized_kl, 0.0, atol=1e-6)
    assert exact - 0.3 < bounds.bound.mean() < exact + 0.3
    assert bounds.amortized_bound.mean() > bounds.bound.mean() + 0.3
    posterior = X @ W[0] / (1 + W[0] @ W[0])  # Of the latent that is used.
    np.testing.assert_allclose(bounds.mean[:, 0], posterior, atol=0.25)


def test_answers_repeat_and_batches_draw_their_own_noise(model):
    first = evaluate_bounds(model, _batches(), steps=0)
    again = evaluate_bounds(model, _batches(), steps=0)
    np.testing.assert_array_equal(first.nll, again.nll)
    twice = evaluate_bounds(model, _batches(np.repeat(X[:1], 16, axis=0)), steps=0)
    assert len(np.unique(twice.nll)) == 16


def test_active_units_of_a_model_that_ignores_one(model):
    assert active_units(evaluate_bounds(model, _batches()).mean, threshold=0.05) == 1


def test_active_units_count_variances_above_the_threshold():
    means = np.array([[0.0, 0.0, 5.0], [0.3, 0.0, 5.0], [0.6, 0.01, 5.0]])
    assert active_units(means) == 1
    assert active_units(means, threshold=0.0) == 2


@pytest.mark.parametrize(
    ("means", "message"),
    [
        (np.zeros([3]), r"expected posterior means \[N, Z\] of at least 2 examples"),
        (np.zeros([1, 2]), r"got shape \[1, 2\]"),
        (np.full([3, 2], np.nan), "got 6 NaN or infinite of 6"),
    ],
)
def test_active_units_refuses(means, message):
    with pytest.raises(ValueError, match=message):
        active_units(means)


def test_samples_must_be_positive(model):
    with pytest.raises(ValueError, match="samples: expected an integer >= 1, got 0"):
        importance_weighted_nll(model, _batches(), samples=0)


def test_the_bar_ends_on_the_mean_of_all_examples(capsys):
    """Keras' own ends on the last batch's value."""
    data = tf.data.Dataset.from_tensor_slices([1.0, 2.0, 3.0, 4.0, 10.0]).batch(2)
    one_pass(lambda x, seed: x, data, label="mean", shows=lambda part: {"value": part.mean()})
    assert "value: 4.0000" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.e2e
def test_evaluations_are_traced_once_for_the_models_settings(monkeypatch):
    """A callback that evaluates after each epoch compiles once; weights are those of now."""
    decoder = DistributionDecoder(keras.layers.Dense(3, use_bias=False), "normal")
    model = SemiAmortizedVAE(
        keras.layers.Dense(4), decoder, latent_size=2, refinement=SemiAmortizedRefinement(2, 0.1)
    )
    model.compile(jit_compile=False)
    model(X[:2])
    data, traced = tf.data.Dataset.from_tensor_slices(X).batch(10), []
    inner = decoder.log_prob_prepared
    monkeypatch.setattr(
        decoder, "log_prob_prepared", lambda *a, **k: (traced.append(1), inner(*a, **k))[1]
    )

    def evaluated(steps=None):
        del traced[:]
        bound = evaluate_bounds(model, data, steps).bound
        nll = importance_weighted_nll(model, data, samples=3, steps=steps)
        return bound.mean(), nll.mean(), len(traced)

    first = evaluated()
    assert first[2] > 0
    assert evaluated() == (*first[:2], 0)
    assert evaluated(steps=0)[2] > 0  # Another question.
    decoder.network.set_weights([W])
    moved = evaluated()
    assert moved[2] == 0 and moved[0] != first[0] and moved[1] != first[1]
    model.refinement.step_size = 0.2
    changed = evaluated()
    assert changed[2] > 0 and changed[0] != moved[0]
