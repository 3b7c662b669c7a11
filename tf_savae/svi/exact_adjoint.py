"""The exact adjoint of refinement: the backward loop of algorithm 1 (Kim et al. 2018).

Forward: (lambda_{k+1}, s_{k+1}) = r(grad f(lambda_k), s_k, lambda_k; w) with an update rule r, its
state s and its weights w. For adjoints lbar = dL / dlambda_{k+1} and sbar = dL / ds_{k+1} the chain
rule is

    (dw, v, sbar, lbar) = J_r' (lbar, sbar)
    lbar += H_ll v;   tbar += H_tl v;   wbar += dw

with one Hessian-vector product per step, at the stored lambda_k and with the step's own seed. If
the loss also depends on f(lambda_k), with theta held constant there, lbar += (dL / df) grad f. J_r'
is computed by a tape over the rule alone, whose tensors have the size of lambda. For the paper's
momentum steps, u = g u - grad f and lambda = lambda + a u, it is ubar += a lbar, v = -ubar.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.svi import per_example
from tf_savae.svi.loop import Path, Settings, repeat
from tf_savae.svi.objective import floating
from tf_savae.svi.per_example import Tensors
from tf_savae.svi.residuals.programs import Program

__all__ = ["LoopDerivatives", "incoming_norm", "pull_back", "with_values"]


class LoopDerivatives(NamedTuple):
    """Derivatives of the loss through the loop, and diagnostics of its stability."""

    initial: list
    theta: list  # One for each float leaf of theta.
    rule: list  # One for each weight of the update rule.
    growth: Any  # [B]: |adjoint at step 0| / `incoming_norm`.
    curvature: Any  # [B]: largest |v' H v| / |v|^2 along the path, per example.
    signal: Any  # [B]: cosine between the adjoint at step 0 and the gradient at lambda_0.


def pull_back(
    theta: Tensors,
    path: Path,
    final_bar: Tensors,
    values_bar: tf.Tensor | None,
    settings: Settings,
    adjoint: Any,
    program: Program,
) -> LoopDerivatives:
    """Propagates dL / dlambda_K and dL / df(lambda_k) back through the last steps of `path`.

    Earlier steps are treated as the identity. Cost: one Hessian-vector product for each of the last
    steps.

    Args:
      theta: flat list of the decoder's tensors.
      path: the `Path` of the forward loop.
      final_bar: dL / dlambda_K, flat list.
      values_bar: [K, B], dL / df(lambda_k) of `path.values`; theta gets no gradient from f there.
        None if L does not depend on them.
      settings: the `Settings` of the forward loop.
      adjoint: `Exact` or `Truncated`, with a depth of at least 1.
      program: computes the products, see `residuals.programs`.
    """
    depth = adjoint.depth_of(settings.steps)
    size = incoming_norm(path, final_bar, values_bar)
    limit = None if adjoint.clip_norm is None else tf.constant(adjoint.clip_norm, size.dtype) * size
    sums = [tf.zeros_like(t, _sum_dtype(t)) for t in floating(theta)]
    last = settings.steps - 1

    def body(done, lam_bar, state_bar, theta_bar, rule_bar, curvature):
        step = last - done
        more, vector, state_bar, lam_bar = _through_rule(
            path, step, [*lam_bar, *state_bar], settings
        )
        rule_bar = [w + m for w, m in zip(rule_bar, more, strict=True)]
        products, theta_products, bend = _products(program, path, step, vector, settings)
        lam_bar = [lam + h for lam, h in zip(lam_bar, products, strict=True)]
        lam_bar = with_values(path, step, lam_bar, values_bar)
        theta_bar = [
            t + tf.cast(h, t.dtype) for t, h in zip(theta_bar, theta_products, strict=True)
        ]
        lam_bar, state_bar = _limited(lam_bar, state_bar, limit)
        return done + 1, lam_bar, state_bar, theta_bar, rule_bar, tf.maximum(curvature, bend)

    start = (
        tf.constant(0),
        list(final_bar),
        [tf.zeros_like(s[0]) for s in path.states],
        sums,
        [tf.zeros_like(w) for w in settings.weights],
        tf.zeros_like(per_example.norm(final_bar)),
    )
    _, lam_bar, state_bar, theta_bar, rule_bar, curvature = repeat(depth, body, start)
    if depth < settings.steps:  # Everything before the last `depth` steps is a constant.
        lam_bar = with_values(path, slice(settings.steps - depth), lam_bar, values_bar)
    else:
        lam_bar, rule_bar = _through_init(path, lam_bar, state_bar, rule_bar, settings)
    theta_bar = [tf.cast(b, t.dtype) for b, t in zip(theta_bar, floating(theta), strict=True)]
    growth = per_example.divide_safely(per_example.norm(lam_bar), size)
    signal = per_example.cosine(lam_bar, [g[0] for g in path.gradients])
    return LoopDerivatives(lam_bar, theta_bar, rule_bar, growth, curvature, signal)


def incoming_norm(path: Path, final_bar: Tensors, values_bar: tf.Tensor | None) -> tf.Tensor:
    """Returns |dL / dlambda_K| plus the norms of all that `with_values` adds, [B]."""
    if values_bar is None:
        return per_example.norm(final_bar)
    added = tf.math.multiply_no_nan(path.gradient_norms, tf.abs(values_bar))
    return per_example.norm(final_bar) + tf.reduce_sum(added, 0)


def with_values(path: Path, steps: Any, lam_bar: Tensors, values_bar: tf.Tensor | None) -> Tensors:
    """Adds dL / df(lambda_k) grad f(lambda_k) of some steps, given as an index or a slice.

    Nothing is added where dL / df is 0, even if the gradient is not finite, and for None.
    """
    if values_bar is None:
        return list(lam_bar)
    found = []
    for bar, gradients in zip(lam_bar, path.gradients, strict=True):
        weights = values_bar[(..., *[None] * (bar.shape.rank - 1))]
        added = tf.math.multiply_no_nan(gradients[steps], weights[steps])
        summed = tf.reduce_sum(added, 0) if isinstance(steps, slice) else added
        found.append(bar + summed)
    return found


def _through_rule(path, step, bars, settings):
    """Returns `BoundRule.pull_back` at the stored arguments of `step`."""
    stored = (path.gradients, path.states, path.parameters)
    at = [[tf.gather(stack, step) for stack in stacks] for stacks in stored]
    return settings.rule.pull_back(settings.weights, *at, step, bars)


def _through_init(path, lam_bar, state_bar, rule_bar, settings):
    """Adds the gradients of lambda_0 and the rule's weights through the rule's initial state."""
    initial = [p[0] for p in path.parameters]
    of_rule, of_initial = settings.rule.pull_back_init(settings.weights, initial, state_bar)
    lam_bar = [b + m for b, m in zip(lam_bar, of_initial, strict=True)]
    return lam_bar, [b + m for b, m in zip(rule_bar, of_rule, strict=True)]


def _products(program, path, step, vector, settings):
    """Returns H_ll v, H_tl v and the curvature along v, at the stored lambda of `step`."""
    parameters = [tf.gather(p, step) for p in path.parameters]
    seed = seeds.fold(settings.seed, step)
    products, theta_products = program.products(step, parameters, seed, path.kept(step), vector)
    bend = per_example.divide_safely(
        tf.abs(per_example.inner(vector, products)), per_example.inner(vector, vector)
    )
    return products, theta_products, bend


def _limited(lam_bar, state_bar, limit):
    """Scales the adjoints of an example's lambda and state so that lambda's is within its limit."""
    if limit is None:
        return lam_bar, state_bar
    size = per_example.norm(lam_bar)
    scale = tf.where(size > limit, per_example.divide_safely(limit, size), tf.ones_like(size))
    return (
        [per_example.expand_like(scale, b) * b for b in lam_bar],
        [per_example.expand_like(scale, b) * b for b in state_bar],
    )


def _sum_dtype(tensor):
    """Returns the dtype of sums of K products: at least float32, also for half precision."""
    return tensor.dtype if tensor.dtype in (tf.float32, tf.float64) else tf.float32
