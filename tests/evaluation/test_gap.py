"""The inference gap and the steps curve against a model where every gap is known."""

import linear_gaussian as known
import numpy as np
import pytest
import tensorflow as tf

from tf_savae import AutoregressiveModel
from tf_savae.core import seeds
from tf_savae.evaluation import inference_gap, steps_curve
from tf_savae.evaluation.local_optimum import Optimisation
from tf_savae.networks import TextDecoder

X = known.data()


@pytest.fixture(scope="module")
def model():
    return known.model()


def _batches(x=X, size=8):
    """The last batch is filled up with rows of weight 0."""
    filling = -len(x) % size
    rows = np.concatenate([x, np.full([filling, 4], 50, np.float32)])
    weights = (np.arange(len(rows)) < len(x)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((rows, weights, weights)).batch(size)


@pytest.fixture(scope="module")
def gap(model):
    return inference_gap(
        model, _batches(), optimisation_steps=300, samples=400, noises=400, chunk=50
    )


def test_lambda_star_is_the_best_of_the_family(model):
    optimise = Optimisation(model, steps=400, samples=4, judges=1000)
    best = optimise(X, [model.encoded_parameters(X)], seeds.as_seed(1))
    mean, log_variance = (p.numpy() for p in best.parameters)
    variance = np.broadcast_to(1 / np.diag(known.PRECISION), mean.shape)
    np.testing.assert_allclose(mean, known.posterior_mean(X), atol=0.1)
    np.testing.assert_allclose(np.exp(log_variance), variance, rtol=0.2)
    # What these errors cost is next to nothing.
    excess = known.negative_elbo(X, mean, np.exp(log_variance)) - known.nll(X)
    np.testing.assert_allclose(excess, known.approximation_gap(), atol=0.02)
    assert (np.diff(best.history, axis=0) <= 0).all()


def test_each_example_keeps_its_best_start(model):
    """A start that is already optimal is not lost to a search that is far too wild."""
    variance = 1 / np.diag(known.PRECISION)
    optimum = (known.posterior_mean(X), np.log(variance) + 0 * known.posterior_mean(X))
    optimum = tuple(tf.constant(part, tf.float32) for part in optimum)
    wild = Optimisation(model, steps=10, step_size=100.0, judges=20)
    best = wild(X, [model.encoded_parameters(X), optimum], seeds.as_seed(0))
    for found, expected in zip(best.parameters, optimum, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_gaps_are_the_known_ones(gap):
    at_prior = known.negative_elbo(X, np.zeros([12, 2]), np.ones([12, 2]))
    approximation = known.approximation_gap()
    assert approximation > 0.1  # Or the test below could not tell it from none.
    assert (np.abs(gap.nll - known.nll(X)) < 4 * gap.spread + 0.02).all()
    np.testing.assert_allclose(gap.approximation_gap.mean(), approximation, atol=0.05)
    amortization = at_prior - known.nll(X) - approximation
    np.testing.assert_allclose(gap.amortization_gap.mean(), amortization.mean(), rtol=0.05)
    np.testing.assert_allclose(gap.inference_gap, gap.approximation_gap + gap.amortization_gap)
    assert len(gap.nll) == 12  # Rows of weight 0 are left out.


def test_steps_recover_a_part_of_the_amortization_gap(gap):
    recovered = gap.recovered.mean()
    assert gap.steps == 5
    assert 0.1 * gap.amortization_gap.mean() < recovered < gap.amortization_gap.mean()
    assert gap.late_gain < 0.05 * gap.amortization_gap.mean()


def test_a_search_cut_short_says_so(model, caplog):
    short = inference_gap(
        model, _batches(), steps=0, optimisation_steps=3, step_size=0.05, samples=2, noises=5
    )
    assert "the amortization gap is larger than reported" in caplog.text
    assert short.late_gain > 0.01


def test_steps_curve_falls_to_the_best_bound(model):
    curve = steps_curve(model, _batches(), (0, 3, 60), tolerances=(0.05,), noises=200)
    at_prior = known.negative_elbo(X, np.zeros([12, 2]), np.ones([12, 2]))
    assert curve.labels == ["K=0", "K=3", "K=60", "until < 0.05 nats, 8 samples"]
    means = curve.bound.mean(axis=1)
    np.testing.assert_allclose(means[0], at_prior.mean(), rtol=0.03)
    assert means[0] > means[1] > means[2]
    best = known.nll(X).mean() + known.approximation_gap()
    assert best - 0.1 < means[2] < best + 0.5
    np.testing.assert_allclose(curve.kl[0], 0.0, atol=1e-5)
    np.testing.assert_array_equal(curve.steps[:3], [0, 3, 60])
    assert 0 < curve.steps[3] < 60 and len(np.unique(curve.taken[3])) > 1
    assert (curve.milliseconds > 0).all()


@pytest.mark.parametrize("evaluation", [inference_gap, steps_curve])
def test_models_without_a_latent_code_are_refused(evaluation):
    plain = AutoregressiveModel(TextDecoder(20, 4, 8, latent_size=0))
    with pytest.raises(ValueError, match="AutoregressiveModel, which has no latent variables"):
        evaluation(plain, _batches())


def test_steps_must_be_given(model):
    with pytest.raises(ValueError, match="steps: expected at least one K"):
        steps_curve(model, _batches(), steps=())
