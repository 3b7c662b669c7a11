"""Refinement written down once more in the plainest way, and how two gradients are compared."""

import functools

import numpy as np
import svi_models
import tensorflow as tf

from tf_savae.svi import refine


def step_sizes(scale=0.2):
    """A step size for (mean, log_variance): one scalar tensor, one tensor [Z]."""
    return tf.constant(scale, tf.float64), tf.constant([0.7 * scale, 0.4 * scale], tf.float64)


def plain_refine(
    negative_elbo, initial, theta, step_size, *, steps, momentum=0.5, clip_norm=None, exact_from=0
):
    """Algorithm 1 as a Python loop that an outer tape records: (refined, norms [K, B]).

    Before step `exact_from` the derivative crosses the steps as if they were the identity.
    """
    start = tf.nest.flatten(initial)
    sizes = tf.nest.flatten(step_size)
    lam, velocity, norms = list(start), [tf.zeros_like(p) for p in start], []
    for k in range(steps):
        if k == exact_from and k:
            moved = [tf.stop_gradient(p - s) for p, s in zip(lam, start, strict=True)]
            lam = [s + m for s, m in zip(start, moved, strict=True)]
            velocity = [tf.stop_gradient(u) for u in velocity]
        with tf.GradientTape() as tape:
            tape.watch(lam)
            parameters = tf.nest.pack_sequence_as(initial, lam)
            value = tf.reduce_sum(negative_elbo(parameters, theta, tf.constant([0, k])))
        gradient = tape.gradient(value, lam)
        square = sum(tf.reduce_sum(g**2, axis=list(range(1, g.shape.rank))) for g in gradient)
        size = tf.sqrt(square)
        norms.append(size)
        if clip_norm is not None:
            factor = tf.minimum(tf.ones_like(size), clip_norm / size)
            gradient = [tf.einsum("b,b...->b...", factor, g) for g in gradient]
        velocity = [momentum * u - g for u, g in zip(velocity, gradient, strict=True)]
        lam = [p + a * u for p, a, u in zip(lam, sizes, velocity, strict=True)]
    if steps and exact_from >= steps:
        moved = [tf.stop_gradient(p - s) for p, s in zip(lam, start, strict=True)]
        lam = [s + m for s, m in zip(start, moved, strict=True)]
    return tf.nest.pack_sequence_as(initial, lam), norms


def total_gradient(refined, negative_elbo, initial, theta, step_size, steps):
    """Differentiates the loss of training, sum_b w_b f_b(lambda_K), in all that it depends on.

    Args:
      refined: maps (initial, theta, step_size) to the nest of refined parameters.

    Returns:
      {"loss", "refined", "initial", "theta", "step_size"}, the last three gradients.
    """
    nests = {"initial": initial, "theta": theta, "step_size": step_size}
    nests = tf.nest.map_structure(tf.identity, nests)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(nests)
        final = refined(nests["initial"], nests["theta"], nests["step_size"])
        values = negative_elbo(final, nests["theta"], tf.constant([0, steps]))
        weights = tf.cast(tf.linspace(0.5, 1.5, values.shape[0]), values.dtype)
        loss = tf.reduce_sum(weights * values)
    gradients = tape.gradient(loss, nests, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    dense = tf.nest.map_structure(tf.convert_to_tensor, gradients)
    return {"loss": loss, "refined": final, **dense}


def in_mode(function, mode):
    """`function` run "eager", as a tf.function ("graph") or compiled by "xla"."""
    if mode == "eager":
        return function
    return tf.function(function, autograph=False, jit_compile=mode == "xla")


def refined_gradient(model, mode="graph", *, steps, **options):
    """The total gradient through `refine` at the model's own point; nothing is kept by default."""
    if options.get("adjoint", "exact") in ("exact", "truncated"):
        options.setdefault("keep", None)

    def run(initial, theta, step_size):
        def refined(*inputs):
            return refine(
                model.objective, *inputs[:2], steps=steps, step_size=inputs[2], seed=9, **options
            )

        return total_gradient(refined, model.objective, initial, theta, step_size, steps)

    return in_mode(run, mode)(model.initial, model.theta, step_sizes())


@functools.cache
def plain_gradient(name, *, steps, **options):
    """The same by taping a Python loop: (total gradient, gradient norms [K, B])."""
    model, norms = svi_models.MODELS[name](), []

    def refined(*inputs):
        final, seen = plain_refine(model.reference, *inputs, steps=steps, **options)
        norms.extend(seen)
        return final

    gradient = total_gradient(
        refined, model.reference, model.initial, model.theta, step_sizes(), steps
    )
    return gradient, np.asarray(norms)


def relative_error(got, expected):
    """|got - expected| / |expected| over all leaves of two nests, in float64."""
    tf.nest.assert_same_structure(got, expected)

    def flat(nest):
        leaves = [tf.convert_to_tensor(leaf).numpy() for leaf in tf.nest.flatten(nest)]
        return np.concatenate([leaf.astype(np.float64).ravel() for leaf in leaves])

    size = np.linalg.norm(flat(expected))
    gap = np.linalg.norm(flat(got) - flat(expected))
    return gap / size if size else gap


def assert_close(got, expected, bound, parts=("loss", "refined", "initial", "theta", "step_size")):
    """Each part of two dictionaries agrees to the relative error `bound`."""
    errors = {part: relative_error(got[part], expected[part]) for part in parts}
    wrong = {part: error for part, error in errors.items() if not error <= bound}
    assert not wrong, f"relative errors {wrong}, allowed {bound}"
