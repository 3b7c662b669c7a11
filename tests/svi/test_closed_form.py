"""Refinement of linear-Gaussian models, where all is known without automatic differentiation.

x = W z + noise of standard deviation s, z ~ N(0, I). The exact posterior is N(A^-1 b, A^-1) with
A = I + W'W / s^2 and b = W'x / s^2, and a refinement step is an affine map of (mean, velocity):
its K-th power and the derivatives of that power are linear algebra, written here in NumPy.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
import svi_reference
import tensorflow as tf
from numpy.linalg import matrix_power

from tf_savae.svi import refine

BATCH, FEATURES, LATENT, SCALE = 3, 4, 2, 0.8
WEIGHTS = np.array([0.5, 1.0, 1.5])  # Of the examples in the loss.
STEP, STEP_VARIANCE = np.float64(0.11), np.float64(0.21)
RNG = np.random.default_rng(3)
W = 0.6 * RNG.normal(size=(FEATURES, LATENT))
X = RNG.normal(size=(BATCH, FEATURES))
MEAN = RNG.normal(size=(BATCH, LATENT))
LOG_VARIANCE = 0.5 * RNG.normal(size=(BATCH, LATENT))
NOISE = 0.3 * RNG.normal(size=(21, BATCH, LATENT))
GRAM = W.T @ W / SCALE**2
PRECISION = np.eye(LATENT) + GRAM
EXACT = 1e-9


class Derivatives(NamedTuple):
    """d loss / d(.), the total derivatives."""

    initial: Any
    weights: Any
    step_size: Any


# --- q of fixed variance, one sample of z per step: z = mean + noise_k -------------------------


def sampled(mean, weights, seed):
    """[B]: |x - W z|^2 / 2 s^2 + |mean|^2 / 2 at this step's z."""
    z = mean + tf.gather(tf.constant(NOISE), seed[1])
    misfit = tf.reduce_sum((X - z @ tf.transpose(weights)) ** 2, axis=1) / (2 * SCALE**2)
    return misfit + 0.5 * tf.reduce_sum(mean**2, axis=1)


def affine_map(momentum):
    """M and N of s_{k+1} = M s_k + N r_k for s = (mean, velocity), r_k = b - (A - I) noise_k."""
    eye = np.eye(LATENT)
    step = np.block([[eye - STEP * PRECISION, STEP * momentum * eye], [-PRECISION, momentum * eye]])
    return step, np.vstack([STEP * eye, eye])


def states(example, steps, momentum):
    """s_0 .. s_K of one example: powers of M on the start and on every force since."""
    step, enter = affine_map(momentum)
    start = np.concatenate([MEAN[example], np.zeros(LATENT)])
    forces = [enter @ force(example, k) for k in range(steps)]
    return [
        matrix_power(step, k) @ start
        + sum((matrix_power(step, k - 1 - j) @ forces[j] for j in range(k)), np.zeros(2 * LATENT))
        for k in range(steps + 1)
    ]


def force(example, k):
    return W.T @ X[example] / SCALE**2 - GRAM @ NOISE[k, example]


def sampled_derivatives(steps, momentum):
    """Algorithm 1's total gradient of sum_b w_b f_b(mean_K), with f taken at noise K."""
    initial, weights, step_size = np.zeros_like(MEAN), np.zeros_like(W), 0.0
    step, _ = affine_map(momentum)
    for example, share in enumerate(WEIGHTS):
        path = states(example, steps, momentum)
        z = path[-1][:LATENT] + NOISE[steps, example]
        pull = share * (PRECISION @ path[-1][:LATENT] - force(example, steps))
        initial[example] = pull @ matrix_power(step, steps)[:LATENT, :LATENT]
        residual = X[example] - W @ z
        weights += -share * np.outer(residual, z) / SCALE**2
        weights += weight_term(example, path, momentum, pull)
        step_size += pull @ response(path, momentum, step_kicks(example, path, momentum))
    return Derivatives(initial, weights, step_size)


def response(path, momentum, kicks):
    """d mean_K when each step's state moves by kicks[j] on top of what came before."""
    step, _ = affine_map(momentum)
    steps = len(path) - 1
    moved = [matrix_power(step, steps - 1 - j) @ kicks[j] for j in range(steps)]
    return sum(moved, np.zeros(2 * LATENT))[:LATENT]


def step_kicks(example, path, momentum):
    """d/da of step j: the mean moves by the new velocity."""
    return [
        np.concatenate(
            [
                momentum * s[LATENT:] - PRECISION @ s[:LATENT] + force(example, j),
                np.zeros(LATENT),
            ]
        )
        for j, s in enumerate(path[:-1])
    ]


def weight_term(example, path, momentum, pull):
    """pull . d mean_K / dW, entry by entry: dA = dW'W + W'dW over s^2, db = dW'x / s^2."""
    _, enter = affine_map(momentum)
    term = np.zeros_like(W)
    for index in np.ndindex(*W.shape):
        unit = np.zeros_like(W)
        unit[index] = 1.0
        gram = (unit.T @ W + W.T @ unit) / SCALE**2
        kicks = [
            enter @ (unit.T @ X[example] / SCALE**2 - gram @ (s[:LATENT] + NOISE[j, example]))
            for j, s in enumerate(path[:-1])
        ]
        term[index] = pull @ response(path, momentum, kicks)
    return term


# --- q with a mean and a log variance, the ELBO in closed form ---------------------------------


def analytic(parameters, weights, seed):
    """[B]: E_q[-log p(x | z)] + KL, with no noise."""
    del seed
    mean, log_variance = parameters
    spread = tf.reduce_sum(weights**2, axis=0) * tf.exp(log_variance)
    misfit = tf.reduce_sum((X - mean @ tf.transpose(weights)) ** 2, axis=1)
    expected = (misfit + tf.reduce_sum(spread, axis=1)) / (2 * SCALE**2)
    kl = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1 - log_variance, axis=1)
    return expected + kl


def variance_path(steps, momentum):
    """log_variance_K and its derivatives in its start, in kappa = diag(A) and in its step size.

    u' = g u - (kappa exp(l) - 1) / 2 and l' = l + a u', differentiated by hand.
    """
    kappa = np.diag(PRECISION)
    value, velocity = LOG_VARIANCE.copy(), np.zeros_like(LOG_VARIANCE)
    tangents = np.zeros((3, 2, BATCH, LATENT))  # In (start, kappa, step) of (value, velocity).
    tangents[0, 0] = 1.0
    for _ in range(steps):
        curve = 0.5 * kappa * np.exp(value)
        velocity = momentum * velocity - (curve - 0.5)
        direct = np.stack([np.zeros_like(value), 0.5 * np.exp(value), np.zeros_like(value)])
        tangents[:, 1] = momentum * tangents[:, 1] - curve * tangents[:, 0] - direct
        tangents[:, 0] += STEP_VARIANCE * tangents[:, 1]
        tangents[2, 0] += velocity
        value = value + STEP_VARIANCE * velocity
    return value, tangents[:, 0]


def analytic_derivatives(steps, momentum):
    """The same total gradient; means and log variances are refined independently."""
    noise, NOISE[:] = NOISE.copy(), 0.0
    try:
        of_mean = sampled_derivatives(steps, momentum)
    finally:
        NOISE[:] = noise
    value, (in_start, in_kappa, in_step) = variance_path(steps, momentum)
    kappa = np.diag(PRECISION)
    pull = WEIGHTS[:, None] * 0.5 * (kappa * np.exp(value) - 1)
    # kappa_j = 1 + sum_i W_ij^2 / s^2, in the path and in the loss itself.
    in_loss = (pull * in_kappa + 0.5 * WEIGHTS[:, None] * np.exp(value)).sum(0)
    weights = of_mean.weights + 2 * W * in_loss / SCALE**2
    steps_bar = (of_mean.step_size, (pull * in_step).sum())
    return Derivatives((of_mean.initial, pull * in_start), weights, steps_bar)


def total_gradient(objective, initial, step_size, steps, momentum, mode="graph", **options):
    def refined(initial, weights, step_size):
        return refine(
            objective,
            initial,
            weights,
            steps=steps,
            step_size=step_size,
            momentum=momentum,
            seed=0,
            **options,
        )

    def run(initial, weights, step_size):
        return svi_reference.total_gradient(refined, objective, initial, weights, step_size, steps)

    convert = tf.nest.map_structure(tf.constant, (initial, W, step_size))
    got = svi_reference.in_mode(run, mode)(*convert)
    return Derivatives(got["initial"], got["theta"], got["step_size"]), got["refined"]


def check(got, expected, bound=EXACT):
    errors = {
        name: svi_reference.relative_error(getattr(got, name), getattr(expected, name))
        for name in Derivatives._fields
    }
    assert max(errors.values()) < bound, errors


SETTINGS = [(steps, momentum) for steps in (0, 1, 2, 5, 20) for momentum in (0.0, 0.5)]


@pytest.mark.parametrize(("steps", "momentum"), SETTINGS)
@pytest.mark.parametrize("hvp", ["forward_over_reverse", "reverse_over_reverse"])
def test_exact_adjoint_of_the_sampled_model(steps, momentum, hvp):
    got, refined = total_gradient(sampled, MEAN, STEP, steps, momentum, hvp=hvp)
    path = [states(example, steps, momentum)[-1][:LATENT] for example in range(BATCH)]
    assert svi_reference.relative_error(refined, np.stack(path)) < EXACT
    check(got, sampled_derivatives(steps, momentum))


@pytest.mark.parametrize(("steps", "momentum"), SETTINGS)
def test_exact_adjoint_of_the_analytic_model(steps, momentum):
    step_sizes = (STEP, STEP_VARIANCE)
    got, refined = total_gradient(analytic, (MEAN, LOG_VARIANCE), step_sizes, steps, momentum)
    assert svi_reference.relative_error(refined[1], variance_path(steps, momentum)[0]) < EXACT
    check(got, analytic_derivatives(steps, momentum))


@pytest.mark.parametrize(("steps", "momentum"), SETTINGS)
def test_unrolled_adjoint_of_both_models(steps, momentum):
    options = dict(mode="eager", adjoint="unrolled")
    got, _ = total_gradient(sampled, MEAN, STEP, steps, momentum, **options)
    check(got, sampled_derivatives(steps, momentum))
    start, step_sizes = (MEAN, LOG_VARIANCE), (STEP, STEP_VARIANCE)
    got, _ = total_gradient(analytic, start, step_sizes, steps, momentum, **options)
    check(got, analytic_derivatives(steps, momentum))


@pytest.mark.parametrize("steps", [1, 20])
def test_exact_adjoint_under_xla(steps):
    got, _ = total_gradient(sampled, MEAN, STEP, steps, 0.5, mode="xla")
    check(got, sampled_derivatives(steps, 0.5))
    start, step_sizes = (MEAN, LOG_VARIANCE), (STEP, STEP_VARIANCE)
    got, _ = total_gradient(analytic, start, step_sizes, steps, 0.5, mode="xla")
    check(got, analytic_derivatives(steps, 0.5))


def test_finite_difference_products_come_close():
    start, step_sizes, hvp = (MEAN, LOG_VARIANCE), (STEP, STEP_VARIANCE), "finite_difference"
    got, _ = total_gradient(analytic, start, step_sizes, 5, 0.5, hvp=hvp)
    check(got, analytic_derivatives(5, 0.5), bound=1e-7)


def posterior_after(steps, momentum):
    refined = refine(
        analytic,
        (tf.constant(MEAN), tf.constant(LOG_VARIANCE)),
        tf.constant(W),
        steps=tf.constant(steps),
        step_size=(STEP, STEP_VARIANCE),
        momentum=momentum,
        seed=0,
        adjoint="stop",
    )
    return [p.numpy() for p in refined]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_converges_to_the_exact_posterior(momentum):
    """The mean to that of p(z | x), the variances to the best diagonal ones, 1 / A_ii."""
    exact_mean = np.linalg.solve(PRECISION, W.T @ X.T / SCALE**2).T
    mean, log_variance = posterior_after(400, momentum)
    assert mean == pytest.approx(exact_mean, rel=1e-12)
    assert np.exp(log_variance) == pytest.approx(
        np.broadcast_to(1 / np.diag(PRECISION), mean.shape), rel=1e-12
    )


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_converges_at_the_rate_of_the_step(momentum):
    """The distance to the exact mean shrinks by the spectral radius of M per step."""
    exact_mean = np.linalg.solve(PRECISION, W.T @ X.T / SCALE**2).T
    step, _ = affine_map(momentum)
    radius = np.abs(np.linalg.eigvals(step)).max()
    gaps = [np.linalg.norm(posterior_after(k, momentum)[0] - exact_mean) for k in (0, 5, 20, 60)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[3] < 20 * radius**60 * gaps[0]
    if not momentum:
        assert gaps[3] / gaps[2] == pytest.approx(radius**40, rel=1e-3)


def test_many_steps_differentiate_like_the_posterior_itself():
    """For K large, d mean_K / dW is the derivative of A^-1 b, whatever the start."""
    refined = total_gradient(sampled_free, MEAN, STEP, 300, 0.5)[0]
    exact_mean = np.linalg.solve(PRECISION, W.T @ X.T / SCALE**2).T
    pull = np.linalg.solve(PRECISION, (WEIGHTS[:, None] * np.ones((BATCH, LATENT))).T).T
    # d(A^-1 b) = A^-1 (dW'(x - W m) - W' dW m) / s^2.
    residual = X - exact_mean @ W.T
    weights = (residual.T @ pull - (pull @ W.T).T @ exact_mean) / SCALE**2
    assert np.abs(refined.initial).max() < 1e-12
    assert svi_reference.relative_error(refined.weights, weights) < EXACT


def sampled_free(mean, weights, seed):
    """The noiseless bowl during refinement; at the end (step 300) the sum of the means."""
    misfit = tf.reduce_sum((X - mean @ tf.transpose(weights)) ** 2, axis=1) / (2 * SCALE**2)
    bowl = misfit + 0.5 * tf.reduce_sum(mean**2, axis=1)
    return tf.where(seed[1] < 300, bowl, tf.reduce_sum(mean, axis=1))
