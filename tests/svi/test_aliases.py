"""One tensor in several places of `initial` and `theta`: each place has a derivative of its own."""

import pytest
import tensorflow as tf
from svi_reference import in_mode

from tf_savae.svi import refine

MODES = ["eager", "graph", "xla"]
ADJOINTS = ["exact", "unrolled", "stop"]
PRODUCTS = ["forward_over_reverse", "reverse_over_reverse"]


def scalar(value):
    return tf.constant(value, tf.float64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_two_parameters_that_start_as_one_tensor(adjoint, mode):
    """f = ((p - 1)^2 + (q + 1)^2) / 2: one step of 1/2 from (0, 0) leads to (1/2, -1/2)."""

    def negative_elbo(parameters, theta, seed):
        p, q = parameters
        return tf.reduce_sum((p - 1) ** 2 + (q + 1) ** 2, axis=1) / 2

    def refined(start):
        options = {"steps": 1, "step_size": 0.5, "momentum": 0.0, "adjoint": adjoint, "seed": 0}
        return refine(negative_elbo, (start, start), tf.zeros([]), **options)

    p, q = in_mode(refined, mode)(tf.zeros([1, 1], tf.float64))
    assert (float(p[0, 0]), float(q[0, 0])) == (0.5, -0.5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hvp", PRODUCTS)
@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
def test_one_weight_in_two_places(adjoint, hvp, mode):
    """f = (p - u v)^2 / 2 with u = v = w: p_1 = a w^2 from 0, so dp_1/dw = 2 a w."""

    def negative_elbo(p, theta, seed):
        return tf.reduce_sum((p - theta[0] * theta[1]) ** 2, axis=1) / 2

    def slope(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            options = {"steps": 1, "step_size": 0.25, "momentum": 0.0, "seed": 0}
            start = tf.zeros([1, 1], tf.float64)
            options |= {"hvp": hvp} if adjoint == "exact" else {}
            final = refine(negative_elbo, start, (w, w), adjoint=adjoint, **options)
            total = tf.reduce_sum(final)
        return tape.gradient(total, w)

    assert float(in_mode(slope, mode)(scalar(3.0))) == pytest.approx(1.5, rel=1e-14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_the_start_is_also_a_weight(adjoint, mode):
    """f = (p - 2 t)^2 / 2 with p_0 = t = 1: p_1 = p_0 + a (2 t - p_0), a step of p alone."""

    def negative_elbo(p, theta, seed):
        return tf.reduce_sum((p - 2 * theta) ** 2, axis=1) / 2

    def refined(start):
        options = {"steps": 2, "step_size": 0.5, "momentum": 0.0, "adjoint": adjoint, "seed": 0}
        return refine(negative_elbo, start, start, **options)

    found = in_mode(refined, mode)(tf.ones([1, 1], tf.float64))
    assert float(found[0, 0]) == pytest.approx(1.75, rel=1e-14)


def test_a_bound_on_an_adjoint_that_is_not_ours_is_refused():
    with pytest.raises(ValueError, match="adjoint_clip_norm: requires .* with adjoint='unrolled'"):
        refine(
            lambda p, theta, seed: tf.reduce_sum(p, axis=1),
            tf.zeros([1, 1]),
            tf.zeros([]),
            steps=1,
            step_size=0.1,
            adjoint="unrolled",
            adjoint_clip_norm=2.0,
            seed=0,
        )
