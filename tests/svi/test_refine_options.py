"""What `refine` can be asked for besides the exact adjoint: each option against plain loops."""

import functools

import numpy as np
import pytest
import svi_models
import svi_reference
import tensorflow as tf

from tf_savae.svi import refine

EXACT = 1e-9


def bowl(parameters, theta, seed):
    """Half of a squared distance: Hessian 1, no noise."""
    del seed
    return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)


def refined_only(model, **options):
    options = {"steps": 5, "step_size": svi_reference.step_sizes(), "seed": 9, **options}
    return refine(model.objective, model.initial, model.theta, **options)


# --- adjoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 3, 5])
@pytest.mark.parametrize("clip_norm", [None, 2.1])
def test_truncated_stops_where_a_plain_loop_stops(depth, clip_norm):
    """Exact through the last steps, the identity before: stop_gradient in a taped loop."""
    settings = dict(steps=5, momentum=0.5, clip_norm=clip_norm)
    expected, _ = svi_reference.plain_gradient("dense", **settings, exact_from=5 - depth)
    got = svi_reference.refined_gradient(
        svi_models.dense(), **settings, adjoint="truncated", truncate=depth
    )
    svi_reference.assert_close(got, expected, EXACT)


def test_truncate_all_steps_is_exact():
    model, settings = svi_models.dense(), dict(steps=5, momentum=0.5, clip_norm=2.1)
    exact = svi_reference.refined_gradient(model, **settings)
    same = svi_reference.refined_gradient(model, **settings, adjoint="truncated", truncate=5)
    svi_reference.assert_close(same, exact, 1e-14)
    less = svi_reference.refined_gradient(model, **settings, adjoint="truncated", truncate=2)
    assert svi_reference.relative_error(less["initial"], exact["initial"]) > 1e-2


def test_truncate_zero_passes_the_adjoint_unchanged():
    model = svi_models.dense()
    upstream = tuple(tf.random.normal(p.shape, dtype=p.dtype) for p in model.initial)
    with tf.GradientTape() as tape:
        tape.watch([model.initial, model.theta])
        refined = refined_only(model, adjoint="truncated", truncate=0)
    through, theta = tape.gradient(refined, [model.initial, model.theta], output_gradients=upstream)
    assert svi_reference.relative_error(through, upstream) == 0
    assert all(not np.any(g) for g in tf.nest.flatten(theta))


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_stop_lets_no_gradient_cross(steps, mode):
    model = svi_models.dense()
    sizes = svi_reference.step_sizes()

    def gradients(initial, theta, step_size):
        with tf.GradientTape() as tape:
            tape.watch([initial, theta, step_size])
            options = dict(steps=steps, seed=9, adjoint="stop")
            refined = refine(model.objective, initial, theta, step_size=step_size, **options)
            total = tf.add_n([tf.reduce_sum(p) for p in refined])
        found = tape.gradient(total, tf.nest.flatten([initial, theta, step_size]))
        assert found == [None] * 7
        return refined

    refined = svi_reference.in_mode(gradients, mode)(model.initial, model.theta, sizes)
    assert svi_reference.relative_error(refined, refined_only(model, steps=steps)) < 1e-14


def test_no_steps_return_the_start():
    model = svi_models.dense()
    refined, trace = refined_only(model, steps=0, return_trace=True)
    assert svi_reference.relative_error(refined, model.initial) == 0
    assert trace.negative_elbo.shape == [1, 3] and trace.gradient_norm.shape == [0, 3]
    expected = model.objective(model.initial, model.theta, tf.constant([0, 0]))
    assert trace.negative_elbo[0].numpy() == pytest.approx(expected.numpy(), rel=1e-14)


@pytest.mark.parametrize("adjoint", ["exact", "unrolled", "truncated", "stop"])
def test_every_adjoint_refines_alike(adjoint):
    model = svi_models.dense()
    options = dict(truncate=2) if adjoint == "truncated" else {}
    got, trace = refined_only(model, adjoint=adjoint, return_trace=True, **options)
    same, expected = refined_only(model, return_trace=True)
    assert svi_reference.relative_error(got, same) < 1e-14
    assert svi_reference.relative_error(trace[:2], expected[:2]) < 1e-14


def test_hvp_may_be_a_function():
    from tf_savae.svi import hvp as hvps

    model, calls = svi_models.dense(), []

    def counted(*arguments):
        calls.append(1)
        return hvps.reverse_over_reverse(*arguments)

    expected = svi_reference.refined_gradient(model, steps=3)
    got = svi_reference.refined_gradient(model, "eager", steps=3, hvp=counted)
    svi_reference.assert_close(got, expected, EXACT)
    assert len(calls) == 3


# --- the trace ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_trace_tells_values_and_norms(mode):
    model = svi_models.dense()
    run = functools.partial(refined_only, model, clip_norm=2.1, return_trace=True)
    refined, trace = svi_reference.in_mode(run, mode)()
    plain = functools.partial(
        svi_reference.plain_refine,
        model.reference,
        model.initial,
        model.theta,
        svi_reference.step_sizes(),
        clip_norm=2.1,
    )
    for k in range(6):
        here, norms = plain(steps=k)
        value = model.reference(here, model.theta, tf.constant([0, k]))
        assert trace.negative_elbo[k].numpy() == pytest.approx(value.numpy(), rel=1e-12)
    assert trace.gradient_norm.numpy() == pytest.approx(np.array(plain(steps=5)[1]), rel=1e-12)
    assert trace.steps.numpy().tolist() == [5, 5, 5]
    assert svi_reference.relative_error(refined, plain(steps=5)[0]) < 1e-14


def test_trace_carries_no_gradient_and_changes_none():
    model = svi_models.dense()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(model.initial)
        refined, trace = refined_only(model, return_trace=True)
        total = tf.reduce_sum(refined[0])
        told = tf.reduce_sum(trace.negative_elbo) + tf.reduce_sum(trace.gradient_norm)
        plain = tf.reduce_sum(refined_only(model)[0])
    assert tape.gradient(told, model.initial[0]) is None
    assert np.array_equal(
        tape.gradient(total, model.initial[0]), tape.gradient(plain, model.initial[0])
    )


# --- nests, dtypes, steps, step sizes ----------------------------------------------------------


def test_structure_of_the_parameters_is_kept():
    start, target = tf.constant([[0.0, 2.0], [1.0, 1.0]]), tf.ones([2])
    options = dict(steps=4, step_size=0.3, seed=0)
    single = refine(bowl, start, target, **options)

    def of_dict(parameters, theta, seed):
        return bowl(tf.concat([parameters["b"]["x"], parameters["a"]], 1), theta["t"], seed)

    nest = {"b": {"x": start[:, :1]}, "a": start[:, 1:]}
    refined = refine(of_dict, nest, {"t": target}, **options)
    assert sorted(refined) == ["a", "b"] and list(refined["b"]) == ["x"]
    got = tf.concat([refined["b"]["x"], refined["a"]], 1)
    assert got.numpy() == pytest.approx(single.numpy(), rel=1e-6)
    listed = refine(lambda p, t, s: bowl(p[0], t, s), [start], target, **options)
    assert isinstance(listed, list) and np.array_equal(listed[0], single)


def test_parameters_of_any_rank():
    def deep(parameters, theta, seed):
        return bowl(tf.reshape(parameters["m"], [2, -1]), theta, seed) + parameters["s"] ** 2

    start = {"m": tf.zeros([2, 3, 2, 2]), "s": tf.ones([2])}
    refined = refine(deep, start, 1.0, steps=40, step_size=0.2, seed=0, clip_norm=5.0)
    assert refined["m"].shape == [2, 3, 2, 2] and refined["s"].shape == [2]
    assert refined["m"].numpy() == pytest.approx(1.0, abs=1e-3)
    assert refined["s"].numpy() == pytest.approx(0.0, abs=1e-3)


def test_theta_may_hold_integers():
    """Tokens and masks travel in theta; they are passed on and get no gradient."""

    def chosen(parameters, theta, seed):
        return bowl(parameters, tf.gather(theta["table"], theta["ids"]), seed)

    table, ids = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 0, 1])
    with tf.GradientTape() as tape:
        tape.watch(table)
        theta = {"table": table, "ids": ids}
        refined = refine(
            chosen, tf.zeros([3, 2]), theta, steps=2, step_size=0.5, seed=0, momentum=0.0
        )
        total = tf.reduce_sum(refined)
    # lambda_2 = (1 - 0.5^2) target: slope 0.75, twice for the row that two examples use.
    assert tf.convert_to_tensor(tape.gradient(total, table)).numpy() == pytest.approx(
        np.array([[0.75, 0.75], [1.5, 1.5]])
    )


def test_float32():
    def cast(nest):
        return tf.nest.map_structure(lambda t: tf.cast(t, tf.float32), nest)

    model = svi_models.dense()

    def in_float32(parameters, theta, seed):
        wide = tf.nest.map_structure(lambda t: tf.cast(t, tf.float64), (parameters, theta))
        return tf.cast(model.objective(*wide, seed), tf.float32)

    narrow = model._replace(
        objective=in_float32, initial=cast(model.initial), theta=cast(model.theta)
    )
    settings = dict(steps=5, momentum=0.5, clip_norm=2.1)
    got = svi_reference.refined_gradient(narrow, **settings)
    assert {t.dtype for t in tf.nest.flatten([got["refined"], got["theta"]])} == {tf.float32}
    expected, _ = svi_reference.plain_gradient("dense", **settings)
    svi_reference.assert_close(got, expected, 1e-5)


@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
def test_bfloat16_weights(adjoint):
    """theta computes in bfloat16, lambda stays float32, gradients arrive in theta's dtype."""

    def narrow(parameters, theta, seed):
        hidden = tf.tanh(tf.cast(parameters, theta["w"].dtype) @ theta["w"])
        return bowl(parameters, tf.cast(hidden, parameters.dtype), seed)

    start = tf.constant([[0.5, -0.25], [1.0, 0.75]])
    kernel = tf.constant([[0.5, 0.25], [-1.0, 0.75]])

    def gradient(dtype):
        theta = {"w": tf.cast(kernel, dtype)}
        with tf.GradientTape() as tape:
            tape.watch([start, theta])
            options = dict(steps=4, step_size=0.25, seed=0, adjoint=adjoint)
            total = tf.reduce_sum(refine(narrow, start, theta, **options))
        return tape.gradient(total, [start, theta["w"]])

    half, full = gradient(tf.bfloat16), gradient(tf.float32)
    assert half[0].dtype == tf.float32 and half[1].dtype == tf.bfloat16
    assert svi_reference.relative_error(half[0], full[0]) < 0.02
    assert svi_reference.relative_error([tf.cast(half[1], tf.float32)], [full[1]]) < 0.02


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_steps_may_be_a_tensor(mode):
    model = svi_models.dense()
    run = svi_reference.in_mode(
        lambda steps: refined_only(model, steps=steps, adjoint="stop"), mode
    )
    for steps in (0, 1, 5):
        expected = refined_only(model, steps=steps)
        assert svi_reference.relative_error(run(tf.constant(steps)), expected) < 1e-12


def test_step_sizes_in_every_form():
    model = svi_models.dense()
    scalar = refined_only(model, step_size=0.125)
    nested = refined_only(model, step_size=(0.125, np.float32(0.125)))
    full = refined_only(model, step_size=tuple(tf.fill(p.shape, 0.125) for p in model.initial))
    per_example = refined_only(model, step_size=np.full([3, 1], 0.125))
    for other in (nested, full, per_example):
        assert svi_reference.relative_error(other, scalar) < 1e-14


@pytest.mark.parametrize("shape", [[], [1], [2], [1, 2], [3, 1], [3, 2]])
def test_gradient_of_a_broadcast_step_size(shape):
    model = svi_models.dense()
    size = tf.fill(shape, tf.constant(0.125, tf.float64))
    gradients = []
    for adjoint in ("exact", "unrolled"):
        with tf.GradientTape() as tape:
            tape.watch(size)
            refined = refined_only(model, step_size=size, clip_norm=2.1, adjoint=adjoint)
            total = tf.add_n([tf.reduce_sum(p**2) for p in refined])
        gradients.append(tape.gradient(total, size))
    assert gradients[0].shape == shape
    assert svi_reference.relative_error(*gradients) < EXACT


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("adjoint", ["exact", "unrolled"])
def test_batch_size_may_be_unknown_when_traced(mode, adjoint):
    def gradient(x, weights):
        def objective(parameters, theta, seed):
            return bowl(tf.tanh(parameters @ theta), x, seed)

        with tf.GradientTape() as tape:
            tape.watch(weights)
            options = dict(steps=3, step_size=0.5, clip_norm=1.0, seed=0, adjoint=adjoint)
            total = tf.reduce_sum(refine(objective, 0.1 * x, weights, **options))
        return tape.gradient(total, weights)

    signature = [tf.TensorSpec([None, 2], tf.float64), tf.TensorSpec([2, 2], tf.float64)]
    run = tf.function(gradient, signature, autograph=False, jit_compile=mode == "xla")
    x, weights = np.random.default_rng(0).normal(size=(5, 2)), np.eye(2)
    parts = run(x[:2], weights) + run(x[2:], weights)
    assert svi_reference.relative_error(run(x, weights), parts) < 1e-12
    assert run.experimental_get_tracing_count() == 1
