"""Refinement at inference that ends for each example on its own."""

import numpy as np
import pytest
import svi_reference
import tensorflow as tf

from tf_savae.svi import refine

CURVATURE = np.array([10.0, 1.0, 3.0])  # Of each example: it decides how fast each one converges.


def bowls(parameters, theta, seed):
    """One parameter per example, f = h_b (p - t)^2 / 2."""
    del seed
    return tf.reduce_sum(0.5 * CURVATURE[:, None] * (parameters - theta) ** 2, axis=1)


def stopped_plainly(steps, tolerance, momentum=0.5, step_size=0.15):
    """Each example on its own: (best parameter, its value, steps taken)."""
    results = []
    for h, place in zip(CURVATURE, (0.5, 1.0, -1.0), strict=True):
        velocity, best, best_value, taken = 0.0, place, np.inf, 0
        for k in range(steps + 1):
            value = 0.5 * h * place**2
            enough = value < best_value - tolerance
            if value < best_value:
                best, best_value = place, value
            if not enough or k == steps:
                break
            velocity = momentum * velocity - h * place
            place += step_size * velocity
            taken += 1
        results.append((best, best_value, taken))
    return [np.array(column) for column in zip(*results, strict=True)]


def stopped(steps, tolerance, mode="graph", step_size=0.15, objective=bowls):
    def run(steps_):
        start = tf.constant([[0.5], [1.0], [-1.0]], tf.float64)
        options = dict(step_size=step_size, seed=0, adjoint="stop", early_stopping=tolerance)
        refined, trace = refine(
            objective, start, tf.zeros([], tf.float64), steps=steps, return_trace=True, **options
        )
        return refined[:, 0], trace.negative_elbo[0] + 0.0 * steps_, trace.steps

    function = svi_reference.in_mode(run, mode)
    return [t.numpy() for t in function(tf.zeros([], tf.float64))]


@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 0.1])
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_each_example_stops_by_itself(mode, tolerance):
    best, value, taken = stopped(30, tolerance, mode)
    expected = stopped_plainly(30, tolerance)
    assert len(set(taken.tolist())) > 1 and taken.max() < 30
    assert taken.tolist() == expected[2].tolist()
    assert best == pytest.approx(expected[0], rel=1e-12)
    assert value == pytest.approx(expected[1], rel=1e-12)


def test_early_stopping_under_xla():
    best, value, taken = stopped(30, 1e-3, "xla")
    expected = stopped_plainly(30, 1e-3)
    assert taken.tolist() == expected[2].tolist() and best == pytest.approx(expected[0], rel=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_early_stopping_takes_at_most_the_steps_allowed(steps):
    best, value, taken = stopped(steps, 0.0)
    expected = stopped_plainly(steps, 0.0)
    assert taken.tolist() == expected[2].tolist() and taken.max() <= steps
    assert best == pytest.approx(expected[0], rel=1e-12)


def test_an_example_that_gets_worse_keeps_its_start():
    best, value, taken = stopped(30, 0.0, step_size=0.5)
    assert best[0] == 0.5 and value[0] == 1.25 and taken[0] == 1
    assert (np.abs(best) <= [0.5, 1.0, 1.0]).all()


def test_the_loop_ends_with_the_last_example():
    calls = []

    def counted(parameters, theta, seed):
        calls.append(tuple(seed.numpy()))
        return bowls(parameters, theta, seed)

    _, _, taken = stopped(500, 1e-3, "eager", objective=counted)
    assert len(calls) == taken.max() + 1 < 20
    assert len(set(calls)) == 1  # One noise for all steps: values differ by parameters alone.


def test_early_stopping_of_a_decoder_in_bfloat16():
    def narrow(parameters, theta, seed):
        return tf.cast(bowls(tf.cast(parameters, tf.float64), np.float64(0), seed), tf.bfloat16)

    options = dict(steps=20, step_size=0.15, seed=0, adjoint="stop", early_stopping=1e-3)
    got = refine(narrow, tf.ones([3, 1]), 0.0, **options)
    expected = refine(bowls, tf.ones([3, 1], tf.float64), np.float64(0), **options)
    assert got.dtype == tf.float32
    assert got.numpy() == pytest.approx(expected.numpy(), abs=0.02)
