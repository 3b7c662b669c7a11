"""Nothing in refinement depends on batch neighbours; noise is the seed's and replayed exactly."""

import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.svi import refine

ROUNDING = 1e-13


def gradients(model, mode="eager", **options):
    """Refined parameters, trace, and the gradients of sum_b f_b(lambda_K)."""
    options = {"steps": 5, "seed": 9, "clip_norm": 1.6, **options}

    def run(initial, theta, step_size):
        with tf.GradientTape() as tape:
            tape.watch([initial, theta])
            settings = dict(step_size=step_size, return_trace=True, **options)
            refined, trace = refine(model.objective, initial, theta, **settings)
            total = tf.reduce_sum(model.objective(refined, theta, tf.constant([0, 5])))
        slopes, weights = tape.gradient(total, [initial, theta], unconnected_gradients="zero")
        return refined, trace[:2], slopes, tf.nest.map_structure(tf.convert_to_tensor, weights)

    return svi_reference.in_mode(run, mode)(model.initial, model.theta, svi_reference.step_sizes())


_E2E = [pytest.param(name, marks=pytest.mark.e2e) for name in ("convolutional", "recurrent")]


@pytest.mark.parametrize("name", ["dense", "late_code", *_E2E])
def test_a_batch_is_refined_like_its_examples(name):
    whole = gradients(svi_models.MODELS[name]())
    rows = [slice(b, b + 1) for b in range(svi_models.BATCH)]
    alone = [gradients(svi_models.MODELS[name](r)) for r in rows]

    def joined(part, axis):
        return tf.nest.map_structure(lambda *t: tf.concat(t, axis), *[a[part] for a in alone])

    summed = tf.nest.map_structure(lambda *t: tf.add_n(t), *[a[3] for a in alone])
    assert svi_reference.relative_error(joined(0, 0), whole[0]) < ROUNDING
    assert svi_reference.relative_error(joined(1, 1), whole[1]) < ROUNDING
    assert svi_reference.relative_error(joined(2, 0), whole[2]) < ROUNDING
    assert svi_reference.relative_error(summed, whole[3]) < ROUNDING


def test_a_batch_is_refined_like_its_examples_under_xla():
    whole = gradients(svi_models.dense(), "xla")
    first = gradients(svi_models.dense(slice(0, 1)), "xla")
    for part in (0, 2):
        row = tf.nest.map_structure(lambda t: t[:1], whole[part])
        assert svi_reference.relative_error(first[part], row) < ROUNDING


@pytest.mark.parametrize("hvp", ["forward_over_reverse", "reverse_over_reverse"])
def test_an_example_that_is_not_a_number_stays_alone(hvp):
    model = svi_models.dense()
    broken = tf.constant([[0.0], [np.nan], [0.0]], tf.float64)
    spoilt = model._replace(initial=tuple(p + broken for p in model.initial))
    good, bad = gradients(model, hvp=hvp), gradients(spoilt, hvp=hvp, adjoint_clip_norm=1e3)
    for part in (0, 2):
        for clean, dirty in zip(good[part], bad[part], strict=True):
            assert np.all(np.isnan(dirty[1]))
            assert dirty.numpy()[[0, 2]] == pytest.approx(clean.numpy()[[0, 2]], rel=1e-12)


# --- noise -------------------------------------------------------------------------------------


def noisy(parameters, theta, seed):
    """A sampled bowl whose noise really comes from the seed."""
    eps = tf.random.stateless_normal(tf.shape(parameters), seed, dtype=parameters.dtype)
    z = parameters + 0.3 * eps
    return tf.reduce_sum(tf.cosh(z @ theta) + 0.1 * z**2, axis=1)


START = tf.constant([[0.3, -0.2], [0.9, 0.4], [-0.5, 0.1]], tf.float64)
MATRIX = tf.constant([[1.0, 0.4], [-0.5, 0.8]], tf.float64)


def noisy_gradient(mode, **options):
    def run(start, matrix):
        with tf.GradientTape() as tape:
            tape.watch([start, matrix])
            options_ = {"steps": 4, "step_size": 0.2, "seed": 3, **options}
            total = tf.reduce_sum(refine(noisy, start, matrix, **options_) ** 3)
        return tape.gradient(total, [start, matrix])

    return svi_reference.in_mode(run, mode)(START, MATRIX)


@pytest.mark.parametrize(("mode", "samples"), [("eager", 1), ("graph", 3), ("xla", 2)])
def test_the_backward_pass_replays_the_noise(mode, samples):
    exact = noisy_gradient(mode, samples=samples)
    unrolled = noisy_gradient(mode, samples=samples, adjoint="unrolled")
    assert svi_reference.relative_error(exact, unrolled) < 1e-12
    other = noisy_gradient(mode, samples=samples, seed=4)
    assert svi_reference.relative_error(other, exact) > 1e-3


def test_each_step_and_sample_has_its_own_seed():
    seen = []

    def recorded(parameters, theta, seed):
        seen.append(tuple(seed.numpy()))
        return noisy(parameters, theta, seed)

    options = dict(steps=4, step_size=0.1, seed=3, adjoint="stop")
    refine(recorded, START, MATRIX, **options)
    assert seen == [tuple(seeds.fold(3, k).numpy()) for k in range(4)]
    assert len(set(seen)) == 4
    seen.clear()
    refine(recorded, START, MATRIX, samples=3, **options)
    assert len(seen) == 12 and len(set(seen)) == 12


def test_samples_average_the_noise_away():
    """One step of size 1 from 0 moves by minus the mean of S unit normals."""

    def linear(parameters, theta, seed):
        del theta
        return tf.reduce_sum(parameters * tf.random.stateless_normal([4000, 3], seed), axis=1)

    for samples in (1, 4):
        options = dict(steps=1, step_size=1.0, seed=5, adjoint="stop", samples=samples)
        moved, trace = refine(linear, tf.zeros([4000, 3]), 0.0, return_trace=True, **options)
        assert np.var(moved) == pytest.approx(1 / samples, rel=0.05)
        # At the end each value is a product of an average and an independent average.
        assert np.var(trace.negative_elbo[1]) == pytest.approx(3 / samples**2, rel=0.15)
