"""Refinement that makes an example worse: that example keeps the amortized parameters."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import (
    compiled,
    data,
    dense_model,
    relative_error,
    step_gradients,
    train_problem,
    with_product,
)

import tf_savae
from tf_savae import SemiAmortizedRefinement
from tf_savae.models.refinement.fallback import better_of

STEP, MOMENTUM, STEPS = 0.1, 0.5, 4
# Curvatures: the stable limit of step size times curvature is 2 (1 + momentum) = 3.
CURVATURES = np.array([1.0, 5.0, 40.0, 100.0])


def _bowls(parameters, theta, seed):
    """Example b is half its curvature times the distance to theta, squared: no noise."""
    return 0.5 * tf.constant(CURVATURES) * tf.reduce_sum((parameters - theta) ** 2, axis=1)


def _error_after(steps):
    """p with lambda_K - theta = p (lambda_0 - theta): the momentum recurrence, by hand."""
    error, velocity = np.ones(4), np.zeros(4)
    for _ in range(steps):
        velocity = MOMENTUM * velocity - CURVATURES * error
        error = error + STEP * velocity
    return error


@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_of_the_chosen_end_in_closed_form(adjoint, jit_compile):
    options = with_product(adjoint=adjoint, fall_back=1)
    layer = SemiAmortizedRefinement(STEPS, STEP, MOMENTUM, None, **options)
    start = tf.constant([[0.3, -1.0], [2.0, 0.1], [0.5, 0.5], [-1.0, 0.2]], tf.float64)
    theta = tf.constant([0.1, -0.2], tf.float64)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(start, theta):
        with tf.GradientTape() as tape:
            tape.watch([start, theta])
            refined, _, fell_back = layer.refine_or_fall_back(_bowls, start, theta, 0)
            loss = tf.reduce_sum(_bowls(refined, theta, 0))
        return refined, fell_back, tape.gradient(loss, [start, theta])

    refined, fell_back, (d_start, d_theta) = run(start, theta)
    factor = _error_after(STEPS)
    worse = np.abs(factor) > 1.0
    assert worse.tolist() == [False, False, True, True] == fell_back.numpy().tolist()
    factor = np.where(worse, 1.0, factor)[:, None]
    distance = start.numpy() - theta.numpy()
    np.testing.assert_allclose(refined.numpy(), theta + factor * distance, rtol=1e-12)
    expected = CURVATURES[:, None] * factor**2 * distance  # dL/dlambda_0, and minus dL/dtheta.
    np.testing.assert_allclose(d_start.numpy(), expected, rtol=1e-11)
    np.testing.assert_allclose(d_theta.numpy(), -expected.sum(0), rtol=1e-11)


EXPLODING = {"steps": 3, "step_size": 0.6, "clip_norm": None}


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_train_step_mixes_the_vae_and_the_savae_of_its_rows(float64, weight):
    """Rows that fell back have the gradient of a plain VAE with the same noise, others SA-VAE's.

    Only the others have the amortized term, from a pass of its own here: theta is constant in it.
    """
    x = data(6)
    options = {"model": {"amortized_weight": weight}, **EXPLODING}
    model = compiled(dense_model(fall_back=4, **options), x)
    before = model.get_weights()
    gradients = step_gradients(model, x)
    model.set_weights(before)
    problem = train_problem(model, x)
    initial = problem.encode()
    _, start = problem.refined(initial)
    fell_back = start.fell_back.numpy()
    assert 0 < fell_back.sum() < 6
    plain = compiled(dense_model(adjoint="unrolled", **EXPLODING), x)
    with tf.GradientTape() as tape:
        problem = train_problem(plain, x)
        initial = problem.encode()
        constant = tf.nest.map_structure(tf.stop_gradient, problem.theta)
        amortized = problem.objective(initial, constant, problem.first_seed())
        refined, _ = problem.refined(initial)
        losses = [problem.outcome_at(end).loss for end in (initial, refined)]
        losses[1] += weight * amortized
        rows = [tf.boolean_mask(losses[0], fell_back), tf.boolean_mask(losses[1], ~fell_back)]
        loss = tf.add_n([tf.reduce_sum(part) for part in rows]) / 6.0
    wanted = [tf.convert_to_tensor(g) for g in tape.gradient(loss, plain.trainable_variables)]
    assert relative_error(gradients, [w.numpy() for w in wanted]) < 1e-11
    share = float(model._bound_metrics.trackers["fell_back"].result())
    assert share == pytest.approx(np.mean(fell_back))


def test_by_default_nothing_is_compared(float64):
    x = data(4)
    model = compiled(dense_model(**EXPLODING), x)
    assert "fell_back" not in model._bound_metrics.trackers
    _, start = train_problem(model, x).refined(model.encoded_parameters(x))
    assert start.fell_back is None


@pytest.mark.parametrize("objective", ["vae_svi", "svi"])
def test_every_refining_objective_counts_them(objective):
    model = dense_model(objective, fall_back=2, **{**EXPLODING, "step_size": 100.0})
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    history = model.fit(data(8), batch_size=4, verbose=0, validation_data=(data(4),)).history
    assert history["fell_back"][0] > 0.5 and history["val_fell_back"][0] > 0.5
    assert history["skipped"] == [0.0]


def test_inference_falls_back_row_by_row():
    x = data(64)
    model = compiled(dense_model(**EXPLODING), x)
    amortized, refined = model.infer(x, steps=0).mean(), model.infer(x).mean()
    chosen = model.infer(x, fall_back=16).mean().numpy()
    kept = np.all(chosen == amortized, axis=1)
    assert 0 < kept.sum() < 64
    np.testing.assert_array_equal(chosen[~kept], refined.numpy()[~kept])
    model.refinement.fall_back = 16
    np.testing.assert_array_equal(model.infer(x).mean(), chosen)
    bound = np.mean(model.negative_elbo(x))
    model.refinement.fall_back = 0
    assert bound < np.mean(model.negative_elbo(x)) - 0.3
    with pytest.raises(ValueError, match="fall_back: expected an integer >= 0, got -1"):
        model.infer(x, fall_back=-1)


def test_an_end_that_is_nan_or_infinite_is_never_chosen():
    ends = tf.constant([[np.nan], [np.inf], [0.5]])

    def square(parameters, theta, seed):
        return tf.reduce_sum(parameters**2, axis=1)

    # In a graph, whose optimizer may take no NaN into account.
    run = tf.function(lambda new: better_of(square, tf.ones([3, 1]), new, tf.zeros([]), 0, 1))
    chosen, fell_back = run(ends)
    assert chosen.numpy().ravel().tolist() == [1.0, 1.0, 0.5]
    assert fell_back.numpy().tolist() == [True, True, False]


def test_the_choice_has_noise_of_its_own():
    """With the noise of the reported ELBO the better end would be better by selection alone."""
    seen = []

    def noise(parameters, theta, seed):
        seen.append(tuple(seed.numpy()))
        return tf.random.stateless_normal([400], seed) + 0.0 * parameters[:, 0]

    better_of(noise, tf.zeros([400, 1]), tf.zeros([400, 1]), tf.zeros([]), 5, samples=3)
    assert len(seen) == 6 and seen[:3] == seen[3:] and len(set(seen)) == 3
    steps = {tuple(tf_savae.core.seeds.fold(5, k).numpy()) for k in range(50)}
    assert not steps & set(seen)


def test_saved_with_the_layer():
    layer = SemiAmortizedRefinement(fall_back=8)
    assert SemiAmortizedRefinement.from_config(layer.get_config()).fall_back == 8
    with pytest.raises(ValueError, match="fall_back: expected an integer >= 0, got 1.5"):
        SemiAmortizedRefinement(fall_back=1.5)
