"""The K refinement steps as one while loop, and what the backward pass needs of them."""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.ground import seeds
from tf_savae.svi import rule

__all__ = ["Path", "Settings", "descend", "stacked_path"]


class Settings(NamedTuple):
    """How to refine, checked and in the form the loops use."""

    steps: Any  # K, a Python int (an int tensor where no gradient crosses).
    step_size: list  # One tensor for each leaf of the parameters.
    momentum: float
    clip_norm: float | None
    adjoint_clip_norm: float | None
    seed: Any
    hvp: Any


class Path(NamedTuple):
    """What happened at steps 0 to K - 1; each leaf stacked along a first axis of K."""

    parameters: list  # lambda_k, before the step.
    gradients: list  # Raw, before clipping.
    velocities: list  # u_{k+1}, after the step.
    values: Any  # [K, B], negative ELBO at lambda_k, nats.
    gradient_norms: Any  # [K, B], before clipping.


def one_step(objective, parameters, velocity, theta, step, settings):
    """Step `step` of algorithm 1. Returns the next (parameters, velocity) and what it saw."""
    values, gradient = objective.gradient(parameters, theta, seeds.fold(settings.seed, step))
    following = rule.momentum_step(
        parameters,
        velocity,
        gradient,
        settings.step_size,
        settings.momentum,
        settings.clip_norm,
    )
    return following, (values, gradient)


def descend(objective, initial, theta, settings):
    """K steps that keep nothing but the current state; K may be an int tensor."""
    steps = settings.steps

    def body(step, parameters, velocity):
        following, _ = one_step(objective, parameters, velocity, theta, step, settings)
        return step + 1, *following

    _, parameters, _ = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), list(initial), [tf.zeros_like(p) for p in initial]),
        parallel_iterations=1,
    )
    return parameters


def stacked_path(objective, initial, theta, settings):
    """K steps (K a Python int, at least 1) with their `Path`: K times the size of lambda."""
    count = len(initial)
    batch = initial[0].shape[:1]
    dtype = initial[0].dtype
    shapes = [p.shape for p in initial] * 3 + [batch, batch]
    dtypes = [p.dtype for p in initial] * 3 + [dtype, dtype]
    arrays = [
        tf.TensorArray(d, settings.steps, element_shape=s)
        for s, d in zip(shapes, dtypes, strict=True)
    ]

    def body(step, parameters, velocity, arrays):
        (following, moved), (values, gradient) = one_step(
            objective, parameters, velocity, theta, step, settings
        )
        entries = [*parameters, *gradient, *moved, tf.cast(values, dtype), rule.norm(gradient)]
        arrays = [a.write(step, entry) for a, entry in zip(arrays, entries, strict=True)]
        return step + 1, following, moved, arrays

    _, parameters, _, arrays = tf.while_loop(
        lambda step, *_: step < settings.steps,
        body,
        (tf.constant(0), list(initial), [tf.zeros_like(p) for p in initial], arrays),
        parallel_iterations=1,
        maximum_iterations=settings.steps,
    )
    stacks = [array.stack() for array in arrays]
    path = Path(
        stacks[:count],
        stacks[count : 2 * count],
        stacks[2 * count : 3 * count],
        stacks[-2],
        stacks[-1],
    )
    return parameters, path
