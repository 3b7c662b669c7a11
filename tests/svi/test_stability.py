"""Diagnosis and bounds where refinement is unstable and its derivative explodes."""

import numpy as np
import pytest
import svi_reference
import tensorflow as tf

from tf_savae.svi import refine

CURVATURE = np.array([10.0, 1.0, 3.0])  # Of each example; the first is beyond what 0.5 allows.
STEP = 0.5


def bowls(parameters, theta, seed):
    """One parameter per example, f = h_b (p - t)^2 / 2."""
    del seed
    return tf.reduce_sum(0.5 * CURVATURE[:, None] * (parameters - theta) ** 2, axis=1)


def backward(steps, momentum, adjoint_clip_norm=None):
    """Algorithm 1's backward pass on the bowls, as scalar arithmetic: lbar_0 and tbar."""
    lam, velocity, theta = np.ones(3), np.zeros(3), np.zeros(3)
    for _ in range(steps):
        velocity = velocity + STEP * lam
        lam = lam - CURVATURE * velocity
        theta = theta + CURVATURE * velocity
        velocity = momentum * velocity
        if adjoint_clip_norm is not None:
            scale = np.minimum(1, adjoint_clip_norm / np.maximum(np.abs(lam), 1e-300))
            lam, velocity = scale * lam, scale * velocity
    return lam, theta


def through(steps, momentum, mode="graph", **options):
    """Gradients of sum_b lambda_K in the start and in each example's own theta, and the probe's."""

    def run(start, theta, probe):
        with tf.GradientTape() as tape:
            tape.watch([start, theta, probe])
            options_ = dict(steps=steps, step_size=STEP, momentum=momentum, seed=0, **options)
            refined = refine(bowls, start, theta, backward_probe=probe, **options_)
            total = tf.reduce_sum(refined)
        return tape.gradient(total, [start, theta, probe])

    start = tf.constant([[0.5], [1.0], [-1.0]], tf.float64)
    arguments = start, tf.zeros([3, 1], tf.float64), tf.zeros([3, 3], tf.float64)
    return [g.numpy() for g in svi_reference.in_mode(run, mode)(*arguments)]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_adjoint_clip_bounds_each_example_alone(momentum, mode):
    start, theta, probe = through(6, momentum, mode, adjoint_clip_norm=2.0)
    expected = backward(6, momentum, 2.0)
    assert start[:, 0] == pytest.approx(expected[0], rel=1e-12)
    assert theta[:, 0] == pytest.approx(expected[1], rel=1e-12)
    free = backward(6, momentum)
    assert abs(free[0][0]) > 100 and abs(start[0, 0]) <= 2.0 * (1 + 1e-12)
    assert start[1:, 0] == pytest.approx(free[0][1:], rel=1e-12)
    assert probe[:, 0] == pytest.approx(np.abs(expected[0]), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_probe_tells_growth_and_curvature(momentum):
    start, _, probe = through(6, momentum)
    assert start[:, 0] == pytest.approx(backward(6, momentum)[0], rel=1e-12)
    assert probe[:, 0] == pytest.approx(np.abs(backward(6, momentum)[0]), rel=1e-12)
    assert probe[:, 1] == pytest.approx(CURVATURE, rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_growth_passes_one_where_the_step_is_too_long(momentum):
    """The known limit: step size times curvature above 2 (1 + momentum)."""
    _, _, probe = through(40, momentum)
    unstable = STEP * CURVATURE > 2 * (1 + momentum)
    assert unstable.tolist() == [True, False, False]
    assert ((probe[:, 0] > 1) == unstable).all()


def test_curvature_is_a_ratio_of_the_hessian():
    """max over steps of v'Hv / v'v, with the adjoint's own directions v, written in NumPy."""
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(3, 4, 4))
    hessians = np.einsum("bij,bkj->bik", halves, halves)
    step_size, upstream = 0.05, rng.normal(size=(3, 4))

    def curved(parameters, theta, seed):
        return 0.5 * tf.einsum("bi,bij,bj->b", parameters, theta, parameters)

    probe = tf.zeros([3, 3], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(probe)
        options = dict(steps=3, step_size=step_size, momentum=0.5, seed=0, backward_probe=probe)
        refined = refine(curved, tf.ones([3, 4], tf.float64), tf.constant(hessians), **options)
    report = tape.gradient(refined, probe, output_gradients=upstream).numpy()
    growth, curvature, signal = report.T
    lam, velocity, ratios = upstream, np.zeros((3, 4)), []
    for _ in range(3):
        velocity = velocity + step_size * lam
        bent = np.einsum("bij,bj->bi", hessians, velocity)
        ratios.append((velocity * bent).sum(1) / (velocity**2).sum(1))
        lam, velocity = lam - bent, 0.5 * velocity
    sizes = np.linalg.norm(lam, axis=1) / np.linalg.norm(upstream, axis=1)
    assert curvature == pytest.approx(np.max(ratios, axis=0), rel=1e-12)
    assert growth == pytest.approx(sizes, rel=1e-12)
    slope = np.einsum("bij,bj->bi", hessians, np.ones((3, 4)))  # Of f at lambda_0.
    cosine = (lam * slope).sum(1) / np.linalg.norm(lam, axis=1) / np.linalg.norm(slope, axis=1)
    assert signal == pytest.approx(cosine, rel=1e-12)
    assert (curvature <= np.linalg.eigvalsh(hessians)[:, -1] * (1 + 1e-12)).all()


def test_probe_where_nothing_is_crossed():
    _, _, probe = through(6, 0.5, adjoint="truncated", truncate=0)
    # Upstream is 1 everywhere; the gradients at the starts 0.5, 1 and -1 have their signs.
    assert probe.tolist() == [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0]]


def test_probe_of_an_upstream_of_zero():
    probe, start = tf.zeros([3, 3], tf.float64), tf.ones([3, 1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(probe)
        options = dict(steps=3, step_size=STEP, seed=0, backward_probe=probe)
        refined = refine(bowls, start, tf.zeros([1], tf.float64), adjoint_clip_norm=2.0, **options)
    zeros = np.zeros([3, 1])
    assert tape.gradient(refined, probe, output_gradients=zeros).numpy().tolist() == [[0, 0, 0]] * 3
