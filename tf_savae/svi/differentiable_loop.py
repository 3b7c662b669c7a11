"""The refinement loop with its gradient: a custom gradient, unrolled autodiff, or none.

Each function maps (objective, initial, theta, settings) to (refined, `LoopInfo`), flat lists. The
adjoints of `tf_savae.svi.adjoints` choose the function and handle K = 0; the loops need K >= 1.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.svi import loop, per_example
from tf_savae.svi.early_stopping import descend_until
from tf_savae.svi.exact_adjoint import incoming_norm, pull_back, with_values
from tf_savae.svi.objective import Objective, floating, with_floats
from tf_savae.svi.per_example import Tensors
from tf_savae.svi.residuals.choice import program_for

__all__ = [
    "LoopInfo",
    "detached",
    "no_steps",
    "takes_none",
    "unrolled",
    "with_custom_gradient",
]


class LoopInfo(NamedTuple):
    """Diagnostics of the steps; None where unknown. All are constants, except `path`."""

    values: Any  # [K, B], negative ELBO at lambda_0 to lambda_{K-1}, nats.
    norms: Any  # [K, B], of the SVI gradient before clipping.
    first: Any  # Flat list of [B, ...]: the SVI gradient at lambda_0, before clipping.
    taken: Any = None  # [B] int32, steps taken where that may be fewer than K.
    path: Any = None  # [K, B], `values` as functions of lambda_k, with theta held constant.


def takes_none(settings: loop.Settings) -> bool:
    """Returns whether K is statically 0; early stopping evaluates lambda_0 even then."""
    known = settings.early_stopping is None and not tf.is_tensor(settings.steps)
    return known and settings.steps == 0


def no_steps(initial: Tensors) -> tuple[Tensors, LoopInfo]:
    """Returns the result for K = 0: the initial parameters, without diagnostics."""
    empty = tf.zeros([0, tf.shape(initial[0])[0]], initial[0].dtype)
    return initial, LoopInfo(empty, empty, None)


def with_custom_gradient(
    objective: Objective,
    initial: Tensors,
    theta: Tensors,
    settings: loop.Settings,
    probe: tf.Tensor,
    adjoint: Any,
) -> tuple[Tensors, LoopInfo]:
    """Refines with algorithm 1's backward pass; a step costs 2F forward and 4F to 6F backward.

    Args:
      objective, initial, theta, settings: as in the plain loop, flat lists.
      probe: zeros [B, 3], whose "gradient" contains the diagnostics of the backward pass.
      adjoint: `Exact` or `Truncated`.
    """
    n = len(initial)
    m = len(floating(theta))
    w = len(settings.weights)

    @tf.custom_gradient
    def refined(*inputs):
        lam, weights = list(inputs[:n]), list(inputs[n : n + m])
        own = settings._replace(weights=list(inputs[n + m : n + m + w]))
        full = with_floats(theta, weights)
        program = program_for(objective, lam, full, own.steps, adjoint)
        final, path = loop.stacked_path(objective, lam, full, own, program)

        def pull(*upstream):
            # The outputs after the values are diagnostics, without gradients.
            bars = list(upstream[:n]), upstream[n] if own.path_gradient else None
            back = pull_back(full, path, *bars, own, adjoint, program)
            report = tf.stack([back.growth, back.curvature, back.signal], axis=1)
            return [*back.initial, *back.theta, *back.rule, report]

        if adjoint.depth_of(settings.steps) == 0:
            pull = _identity_pull(n, [*weights, *own.weights], path, own.path_gradient)
        first = [g[0] for g in path.gradients]
        return [*final, path.values, path.gradient_norms, *first], pull

    outputs = _without_variables(refined, *initial, *floating(theta), *settings.weights, probe)
    values, norms, *first = (tf.stop_gradient(o) for o in outputs[n:])
    path = outputs[n] if settings.path_gradient else None
    return outputs[:n], LoopInfo(values, norms, first, path=path)


def _without_variables(refined, *inputs):
    """Calls `refined`; raises ValueError if it reads a variable, which would get no gradient."""
    try:
        return refined(*inputs)
    except TypeError as error:
        if "function uses variables" not in str(error):
            raise
        raise ValueError(
            "negative_elbo: expected a pure function of (parameters, theta, seed), got one that "
            "reads a trainable tf.Variable outside theta, whose gradient through refinement would "
            "be lost. Pass the variable's value in theta and use the theta that negative_elbo "
            "receives. (An update rule may read only variables that are its own attributes or "
            "weights of its layer.)"
        ) from error


def _identity_pull(n, weights, path, path_gradient):
    """Returns the backward pass of depth 0, the identity."""

    def pull(*upstream):
        final, values_bar = list(upstream[:n]), upstream[n] if path_gradient else None
        bars = with_values(path, slice(None), final, values_bar)
        zeros = [tf.zeros_like(t) for t in weights]
        size = incoming_norm(path, final, values_bar)
        growth = per_example.divide_safely(per_example.norm(bars), size)
        signal = per_example.cosine(bars, [g[0] for g in path.gradients])
        report = tf.stack([growth, tf.zeros_like(size), signal], axis=1)
        return [*bars, *zeros, report]

    return pull


def unrolled(
    objective: Objective, initial: Tensors, theta: Tensors, settings: loop.Settings
) -> tuple[Tensors, LoopInfo]:
    """Refines by K unrolled steps: cost 6K F; memory and compile time grow with K."""
    parameters = list(initial)
    state = settings.rule.init(settings.weights, parameters)
    path, values, norms, first = [], [], [], None
    for step in range(settings.steps):
        before = parameters
        (parameters, state), (value, gradient) = loop.one_step(
            objective, before, state, theta, step, settings
        )
        first = first or [tf.stop_gradient(g) for g in gradient]
        value = tf.cast(value, initial[0].dtype)
        values.append(tf.stop_gradient(value))
        if settings.path_gradient:
            path.append(per_example.with_gradient(value, before, gradient))
        norms.append(tf.stop_gradient(per_example.norm(gradient)))
    stacked = tf.stack(path) if path else None
    return parameters, LoopInfo(tf.stack(values), tf.stack(norms), first, path=stacked)


def detached(
    objective: Objective, initial: Tensors, theta: Tensors, settings: loop.Settings
) -> tuple[Tensors, LoopInfo]:
    """Refines without gradients: the refined parameters are constants (SVI, VAE + SVI).

    Args:
      objective, theta, settings: as in the plain loop, flat lists.
      initial: flat list of constants.
    """
    if settings.early_stopping is not None:
        best, value, taken = descend_until(
            objective, initial, theta, settings, settings.early_stopping
        )
        return [tf.stop_gradient(p) for p in best], LoopInfo(value[None], None, None, taken)
    if not isinstance(settings.steps, int):  # K as a tensor: nothing is stored.
        final = loop.descend(objective, initial, theta, settings)
        return [tf.stop_gradient(p) for p in final], LoopInfo(None, None, None)
    theta = [tf.stop_gradient(t) for t in theta]
    settings = settings._replace(weights=[tf.stop_gradient(w) for w in settings.weights])
    final, path = loop.stacked_path(objective, initial, theta, settings)
    first = [tf.stop_gradient(g[0]) for g in path.gradients]
    seen = LoopInfo(tf.stop_gradient(path.values), tf.stop_gradient(path.gradient_norms), first)
    return [tf.stop_gradient(p) for p in final], seen
