"""Per-example clipping and its derivative, the part whose derivative is easily made wrong."""

import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tf_savae.svi import per_example, refine

CLIP = 1.5


@pytest.fixture
def gradient():
    """Two leaves of unlike rank; examples well above, well below and just above the limit."""
    rng = np.random.default_rng(0)
    leaves = [rng.normal(size=(4, 3)), rng.normal(size=(4, 2, 2))]
    size = np.sqrt((leaves[0] ** 2).sum(1) + (leaves[1] ** 2).sum((1, 2)))
    target = np.array([6.0, 0.4, 1.51, 1.49]) / size
    scales = (target[:, None], target[:, None, None])
    return [tf.constant(leaf * scale) for leaf, scale in zip(leaves, scales, strict=True)]


def test_norm_is_over_all_leaves_of_an_example(gradient):
    assert per_example.norm(gradient).numpy() == pytest.approx([6.0, 0.4, 1.51, 1.49], rel=1e-14)


def test_clips_each_example_alone(gradient):
    clipped = per_example.clip(gradient, CLIP)
    assert per_example.norm(clipped).numpy() == pytest.approx([1.5, 0.4, 1.5, 1.49], rel=1e-14)
    for before, after in zip(gradient, clipped, strict=True):
        assert np.array_equal(after[1], before[1]) and np.array_equal(after[3], before[3])
        assert after[0].numpy() == pytest.approx(before[0].numpy() / 4, rel=1e-14)


def test_none_leaves_gradients_alone(gradient):
    assert per_example.clip(gradient, None) is gradient


def _explicit_jacobians(gradient):
    """d clip(g)_b / d g_b for each example, by reverse mode: a list of [N, N]."""

    def flat(leaves):
        return tf.concat([tf.reshape(leaf, [4, -1]) for leaf in leaves], axis=1)

    with tf.GradientTape() as tape:
        tape.watch(gradient)
        clipped = flat(per_example.clip(gradient, CLIP))
    parts = tape.jacobian(clipped, gradient)
    whole = np.concatenate([np.reshape(p, (4, 7, 4, -1)) for p in parts], axis=3)
    crossed = [whole[b, :, c] for b in range(4) for c in range(4) if b != c]
    assert not np.any(crossed)
    return [whole[b, :, b] for b in range(4)]


def test_the_jacobian_is_that_of_the_closed_form(gradient):
    """(c / |g|) (I - g g' / |g|^2) where an example is clipped, the identity where not."""
    for b, jacobian in enumerate(_explicit_jacobians(gradient)):
        g = np.concatenate([np.ravel(leaf[b]) for leaf in gradient])
        size = np.linalg.norm(g)
        across = np.eye(7) - np.outer(g, g) / size**2
        expected = CLIP / size * across if size > CLIP else np.eye(7)
        assert jacobian == pytest.approx(expected, abs=1e-14)


def test_the_derivative_loses_what_lies_along_a_clipped_gradient(gradient):
    with tf.GradientTape() as tape:
        tape.watch(gradient)
        clipped = per_example.clip(gradient, CLIP)
    got = tape.gradient(clipped, gradient, output_gradients=gradient)
    assert per_example.norm(got).numpy() == pytest.approx([0.0, 0.4, 0.0, 1.49], abs=1e-14)


# No subnormal numbers: some processors and builds flush them to zero.
COMPONENTS = st.floats(-1e3, 1e3, allow_subnormal=False)


@given(st.lists(COMPONENTS, min_size=3, max_size=3), st.floats(1e-3, 1e3))
def test_clip_never_exceeds_its_norm_nor_turns(values, limit):
    gradient = np.array([values])
    clipped = per_example.clip([tf.constant(gradient)], limit)[0].numpy()
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-12)
    if np.linalg.norm(gradient) <= limit:
        assert np.array_equal(clipped, gradient)
    cosine = (clipped * gradient).sum()
    expected = np.linalg.norm(clipped) * np.linalg.norm(gradient)
    assert cosine == pytest.approx(expected, rel=1e-9, abs=1e-200)


@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
def test_a_gradient_of_zero_has_a_finite_derivative(adjoint):
    """An example that rests at its optimum: the norm's own derivative is infinite there."""
    start, target = tf.constant([[1.0, 1.0], [9.0, 9.0]], tf.float64), tf.ones([2], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        settings = dict(steps=3, step_size=0.1, clip_norm=1.0, seed=0)
        total = tf.reduce_sum(refine(_bowl, start, target, adjoint=adjoint, **settings))
    slopes = tape.gradient(total, start).numpy()
    assert np.all(np.isfinite(slopes))
    assert slopes[0] == pytest.approx(_resting_slope(3, 0.1, 0.5), rel=1e-12)


def _bowl(parameters, theta, seed):
    return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)


def _resting_slope(steps, step_size, momentum):
    """Unclipped descent in a bowl of Hessian 1 is linear: where a start of 1 ends."""
    place, velocity = 1.0, 0.0
    for _ in range(steps):
        velocity = momentum * velocity - place
        place += step_size * velocity
    return place


@pytest.mark.parametrize("clip_norm", [0.5, 1.7, 2.1, 100.0])
def test_derivative_where_the_norm_straddles(clip_norm):
    """From all steps clipped to none, with both kinds in one batch and along one path."""
    settings = dict(steps=5, momentum=0.5, clip_norm=clip_norm)
    expected, norms = svi_reference.plain_gradient("dense", **settings)
    share = (norms > clip_norm).mean()
    assert {0.5: share > 0.9, 100.0: share == 0}.get(clip_norm, 0 < share < 1)
    got = svi_reference.refined_gradient(svi_models.dense(), **settings)
    svi_reference.assert_close(got, expected, 1e-9)


def test_one_example_crosses_the_limit_along_its_path():
    _, norms = svi_reference.plain_gradient("dense", steps=5, momentum=0.5, clip_norm=1.7)
    clipped = norms > 1.7
    assert np.any(clipped.any(axis=0) & ~clipped.all(axis=0))


def test_a_constant_factor_would_be_wrong():
    """What the derivative would be if the clipping factor were held constant: far from ours."""
    settings = dict(steps=5, momentum=0.5, clip_norm=1.0)
    expected, _ = svi_reference.plain_gradient("dense", **settings)
    got = svi_reference.refined_gradient(svi_models.dense(), **settings)
    assert svi_reference.relative_error(got["initial"], expected["initial"]) < 1e-9
    model = svi_models.dense()

    def refined(initial, theta, step_size):
        return _constant_factors(model, initial, theta, step_size, **settings)

    wrong = svi_reference.total_gradient(
        refined, model.objective, model.initial, model.theta, svi_reference.step_sizes(), 5
    )
    assert svi_reference.relative_error(wrong["loss"], expected["loss"]) < 1e-12
    assert svi_reference.relative_error(wrong["initial"], expected["initial"]) > 0.1


def _constant_factors(model, initial, theta, step_size, *, steps, momentum, clip_norm):
    lam, velocity = list(initial), [tf.zeros_like(p) for p in initial]
    for k in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(lam)
            value = tf.reduce_sum(model.objective(lam, theta, tf.constant([0, k])))
        gradient = tape.gradient(value, lam)
        size = tf.sqrt(tf.add_n([tf.reduce_sum(g**2, 1, keepdims=True) for g in gradient]))
        factor = tf.stop_gradient(tf.minimum(tf.ones_like(size), clip_norm / size))
        velocity = [momentum * u - factor * g for u, g in zip(velocity, gradient, strict=True)]
        lam = [p + a * u for p, a, u in zip(lam, step_size, velocity, strict=True)]
    return tuple(lam)


def test_spread_broadcasts_along_examples():
    tensor = tf.reshape(tf.range(24.0), [2, 3, 4])
    assert per_example.expand_like(tf.ones([2]), tensor).shape == [2, 1, 1]


def test_divide_safely():
    got = per_example.divide_safely(tf.constant([1.0, 1.0]), tf.constant([0.0, 4.0]))
    assert got.numpy().tolist() == [0.0, 0.25]
