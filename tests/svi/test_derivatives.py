"""The total derivative through refinement against three independent derivations, in float64.

A taped Python loop that shares no code with the package, the package's own unrolled autodiff, and
central differences of the scalar loss.
"""

import functools

import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf

from tf_savae.svi import hvp as hvps
from tf_savae.svi import refine
from tf_savae.svi.objective import Objective

EXACT = 1e-9
HVPS = ["forward_over_reverse", "reverse_over_reverse"]
DECODERS = sorted(svi_models.MODELS)
# At each, some gradients are clipped and others are not, and none is near the kink between.
CLIPS = {
    "dense": 2.1,
    "slicing": 1.9,
    "convolutional": 2.7,
    "recurrent": 1.6,
    "late_code": 1.7,
    "keras_lstm": 1.2,
    "fused_text": 1.6,
}


def _check(name, mode, steps, momentum, clip, bound=EXACT, **options):
    clip_norm = CLIPS[name] if clip else None
    settings = dict(steps=steps, momentum=momentum, clip_norm=clip_norm)
    expected, norms = svi_reference.plain_gradient(name, **settings)
    if clip and steps:
        assert (norms > clip_norm).any() and (norms < clip_norm).any()
        assert np.abs(norms / clip_norm - 1).min() > 0.01
    model = svi_models.MODELS[name]()
    got = svi_reference.refined_gradient(model, mode, **settings, **options)
    svi_reference.assert_close(got, expected, bound)


@pytest.mark.parametrize("clip", [False, True], ids=["plain", "clipped"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("hvp", HVPS)
def test_exact_adjoint_in_every_setting(steps, momentum, clip, hvp):
    _check("dense", "graph", steps, momentum, clip, hvp=hvp)


@pytest.mark.parametrize("clip", [False, True], ids=["plain", "clipped"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
def test_unrolled_adjoint_in_every_setting(steps, momentum, clip):
    _check("dense", "eager", steps, momentum, clip, adjoint="unrolled")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("hvp", HVPS)
@pytest.mark.parametrize("name", [d for d in DECODERS if d not in ("dense", "keras_lstm")])
def test_exact_adjoint_of_every_decoder(name, hvp, mode):
    _check(name, mode, 2, 0.5, True, hvp=hvp)


@pytest.mark.parametrize(
    ("mode", "hvp"), [("eager", HVPS[0]), ("eager", HVPS[1]), ("graph", HVPS[1])]
)
def test_exact_adjoint_of_a_keras_lstm(mode, hvp):
    """In a graph, forward mode cannot pass Keras' loop: test_svi_errors holds its message."""
    _check("keras_lstm", mode, 2, 0.5, True, hvp=hvp)


@pytest.mark.parametrize("name", ["convolutional", "recurrent", "late_code"])
def test_twenty_steps_of_every_decoder(name):
    _check(name, "graph", 20, 0.5, True)


def test_twenty_steps_of_a_keras_lstm():
    _check("keras_lstm", "graph", 20, 0.5, True, hvp="reverse_over_reverse")


# XLA takes seconds a case: each decoder, each number of steps, each product, momentum and clipping
# on and off, but not their full product.
XLA = [
    ("dense", 0, 0.5, False, HVPS[0]),
    ("dense", 1, 0.0, True, HVPS[1]),
    ("dense", 2, 0.5, True, HVPS[0]),
    ("dense", 20, 0.5, True, HVPS[0]),
    ("dense", 20, 0.0, False, HVPS[1]),
    ("convolutional", 2, 0.0, True, HVPS[0]),
    ("convolutional", 5, 0.5, False, HVPS[1]),
    ("recurrent", 5, 0.5, True, HVPS[0]),
    ("recurrent", 2, 0.0, False, HVPS[1]),
    ("late_code", 5, 0.5, True, HVPS[0]),
    ("keras_lstm", 5, 0.5, True, HVPS[1]),
    ("slicing", 2, 0.5, True, HVPS[0]),
    ("slicing", 2, 0.0, False, HVPS[1]),
]


@pytest.mark.parametrize(("name", "steps", "momentum", "clip", "hvp"), XLA)
def test_exact_adjoint_under_xla(name, steps, momentum, clip, hvp):
    _check(name, "xla", steps, momentum, clip, hvp=hvp)


@pytest.mark.parametrize("name", ["dense", "convolutional", "recurrent"])
def test_unrolled_adjoint_under_xla(name):
    _check(name, "xla", 2, 0.5, True, adjoint="unrolled")


@pytest.mark.parametrize("name", DECODERS)
def test_unrolled_adjoint_of_every_decoder(name):
    _check(name, "eager", 5, 0.5, True, adjoint="unrolled")


@pytest.mark.parametrize("name", ["dense", "recurrent"])
def test_finite_difference_products(name):
    """Central differences of the gradient: right, but to its own looser bound."""
    _check(name, "graph", 5, 0.5, True, bound=1e-6, hvp="finite_difference")


@pytest.mark.parametrize("clip", [False, True], ids=["plain", "clipped"])
@pytest.mark.parametrize("name", DECODERS)
def test_central_differences_of_the_loss(name, clip):
    """Directional derivatives of the loss alone, by a difference of fourth order."""
    model = svi_models.MODELS[name]()
    point = (model.initial, model.theta, svi_reference.step_sizes())
    settings = dict(steps=5, momentum=0.5, clip_norm=CLIPS[name] if clip else None)
    loss = svi_reference.in_mode(functools.partial(_loss, model, settings), "graph")
    got = svi_reference.refined_gradient(model, **settings, hvp="reverse_over_reverse")
    parts = tf.nest.flatten([got[key] for key in ("initial", "theta", "step_size")])
    gradient = np.concatenate([np.ravel(part) for part in parts])
    rng = np.random.default_rng(7)
    for _ in range(3):
        direction = rng.normal(size=gradient.shape)
        direction /= np.linalg.norm(direction)
        slope = _difference(lambda h, d=direction: float(loss(*_moved(point, h * d))))
        assert slope == pytest.approx(gradient @ direction, abs=1e-8 * np.linalg.norm(gradient))


def _loss(model, settings, *point):
    def refined(*inputs):
        return refine(
            model.objective, *inputs[:2], step_size=inputs[2], seed=9, adjoint="stop", **settings
        )

    final = refined(*point)
    values = model.objective(final, point[1], tf.constant([0, settings["steps"]]))
    weights = tf.linspace(tf.constant(0.5, tf.float64), 1.5, values.shape[0])
    return tf.reduce_sum(weights * values)


def _moved(point, move):
    leaves, at = [], 0
    for leaf in tf.nest.flatten(point):
        size = leaf.shape.num_elements()
        leaves.append(leaf + tf.reshape(move[at : at + size], leaf.shape))
        at += size
    return tf.nest.pack_sequence_as(point, leaves)


def _difference(function, h=1e-3):
    near = function(h) - function(-h)
    far = function(2 * h) - function(-2 * h)
    return (8 * near - far) / (12 * h)


@pytest.fixture(params=DECODERS)
def second_order(request):
    """A decoder's objective at a point with a direction, and its products from its Hessian."""
    model = svi_models.MODELS[request.param]()
    objective = Objective(model.objective, model.initial, model.theta)
    lam, theta = list(model.initial), tf.nest.flatten(model.theta)
    rng = np.random.default_rng(5)
    vector = [tf.constant(rng.normal(size=p.shape)) for p in lam]
    return objective, lam, theta, tf.constant([0, 3]), vector, _by_jacobian(model, vector)


def _by_jacobian(model, vector):
    """[H_ll; H_tl] v with every entry of the gradient differentiated on its own."""
    theta = tf.nest.flatten(model.theta)
    sources = [*model.initial, *theta]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(sources)
        with tf.GradientTape() as tape:
            tape.watch(model.initial)
            packed = tf.nest.pack_sequence_as(model.theta, theta)
            value = model.reference(model.initial, packed, tf.constant([0, 3]))
        gradient = tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(value, model.initial)], 0)
    rows = outer.jacobian(
        gradient, sources, unconnected_gradients="zero", experimental_use_pfor=False
    )
    flat = tf.concat([tf.reshape(v, [-1]) for v in vector], 0)
    return [tf.einsum("n,n...->...", flat, tf.convert_to_tensor(row)) for row in rows]


@pytest.mark.parametrize("hvp", HVPS)
def test_products_equal_the_hessian_times_the_vector(second_order, hvp):
    *arguments, expected = second_order
    products, theta_products = hvps.METHODS[hvp](*arguments)
    assert svi_reference.relative_error([*products, *theta_products], expected) < 1e-12


def test_products_equal_one_another(second_order):
    *arguments, _ = second_order
    forward = hvps.forward_over_reverse(*arguments)
    reverse = hvps.reverse_over_reverse(*arguments)
    assert svi_reference.relative_error(forward, reverse) < 1e-13


def test_finite_difference_product_float64(second_order):
    *arguments, expected = second_order
    products, theta_products = hvps.finite_difference(*arguments)
    assert svi_reference.relative_error([*products, *theta_products], expected) < 1e-7


def test_finite_difference_product_float32():
    """A bound that float32 allows: 1e-3, where a step of 1e-5 would leave noise."""

    def bowl(parameters, theta, seed):
        return tf.reduce_sum(tf.cosh(parameters @ theta), axis=1)

    lam, theta = tf.constant([[0.3, -0.2], [0.9, 1.1]]), tf.constant([[1.0, 0.4], [-0.5, 2.0]])
    vector = [tf.constant([[1e-3, 2e-3], [30.0, -10.0]])]
    objective = Objective(bowl, lam, theta)
    arguments = (objective, [lam], [theta], tf.constant([0, 0]), vector)
    exact = hvps.reverse_over_reverse(*arguments)
    approximate = hvps.finite_difference(*arguments)
    for example in range(2):  # Each example moves on its own scale.
        got, expected = approximate[0][0][example], exact[0][0][example]
        assert svi_reference.relative_error(got, expected) < 2e-3
    assert svi_reference.relative_error(approximate[1], exact[1]) < 2e-3
