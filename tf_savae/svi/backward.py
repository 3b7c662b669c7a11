"""The exact adjoint of refinement: the backward loop of algorithm 1 (Kim et al. 2018).

Forward: u_{k+1} = g u_k - c(grad f(lambda_k)), lambda_{k+1} = lambda_k + a u_{k+1}, where c clips
each example. For an adjoint lbar = dL / dlambda_{k+1} and ubar = dL / du_{k+1} the chain rule is

    ubar += a lbar;   abar += u_{k+1} . lbar;   v = J_c(grad f)' ubar
    lbar -= H_ll v;   tbar -= H_tl v;           ubar = g ubar

with one Hessian-vector product a step, at the stored lambda_k and the step's own seed.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.ground import seeds
from tf_savae.svi import keeping, rule
from tf_savae.svi.evaluation import floating

__all__ = ["Adjoint", "pull_back"]


class Adjoint(NamedTuple):
    """Derivatives of the loss through the loop, and how stable the loop was."""

    initial: list
    theta: list  # One for each float leaf of theta.
    step_size: list
    growth: Any  # [B]: |adjoint at step 0| / |adjoint at step K|.
    curvature: Any  # [B]: largest |v' H v| / |v|^2 met on the way, per example.


def pull_back(objective, theta, path, final_bar, settings, depth):
    """Carries dL / dlambda_K back through the last `depth` steps of `path`.

    Earlier steps are crossed as if they were the identity. Cost: `depth` Hessian-vector products.

    Args:
      objective: the negative ELBO.
      theta: flat list of the decoder's tensors.
      path: the `Path` of the forward loop.
      final_bar: dL / dlambda_K, flat list.
      settings: the `Settings` of the forward loop.
      depth: number of steps to cross exactly, 1 to K.
    """
    limit = _limit(final_bar, settings.adjoint_clip_norm)
    sums = [tf.zeros_like(t, _sum_dtype(t)) for t in floating(theta)]
    last = settings.steps - 1

    def body(done, lam_bar, vel_bar, theta_bar, step_bar, curvature):
        step = last - done
        vel_bar = [
            u + a * lam for u, a, lam in zip(vel_bar, settings.step_size, lam_bar, strict=True)
        ]
        step_bar = _add_step_size_terms(step_bar, path, step, lam_bar, settings.step_size)
        products, theta_products, bend = _product(objective, theta, path, step, vel_bar, settings)
        lam_bar = [lam - h for lam, h in zip(lam_bar, products, strict=True)]
        theta_bar = [
            t - tf.cast(h, t.dtype) for t, h in zip(theta_bar, theta_products, strict=True)
        ]
        vel_bar = [settings.momentum * u for u in vel_bar]
        lam_bar, vel_bar = _limited(lam_bar, vel_bar, limit)
        return done + 1, lam_bar, vel_bar, theta_bar, step_bar, tf.maximum(curvature, bend)

    _, lam_bar, _, theta_bar, step_bar, curvature = tf.while_loop(
        lambda done, *_: done < depth,
        body,
        (
            tf.constant(0),
            list(final_bar),
            [tf.zeros_like(b) for b in final_bar],
            sums,
            [tf.zeros_like(a) for a in settings.step_size],
            tf.zeros_like(rule.norm(final_bar)),
        ),
        parallel_iterations=1,
        maximum_iterations=depth,
    )
    theta_bar = [tf.cast(b, t.dtype) for b, t in zip(theta_bar, floating(theta), strict=True)]
    growth = rule.divide_safely(rule.norm(lam_bar), rule.norm(final_bar))
    return Adjoint(lam_bar, theta_bar, step_bar, growth, curvature)


def _product(objective, theta, path, step, vel_bar, settings):
    """H_ll v, H_tl v and the curvature along v = J_c' ubar, at the stored lambda of `step`."""
    parameters = [tf.gather(p, step) for p in path.parameters]
    gradient = [tf.gather(g, step) for g in path.gradients]
    vector = rule.clip_vjp(gradient, settings.clip_norm, vel_bar)
    seed = seeds.fold(settings.seed, step)
    with keeping.replaying(path.kept(step)):
        products, theta_products = settings.hvp(objective, parameters, theta, seed, vector)
    bend = rule.divide_safely(
        tf.abs(rule.inner(vector, products)), rule.inner(vector, vector)
    )
    return products, theta_products, bend


def _add_step_size_terms(step_bar, path, step, lam_bar, step_size):
    """dL / da gains u_{k+1} . lbar at every step: two tiny products, no new evaluation."""
    moves = [tf.gather(u, step) for u in path.velocities]
    return [
        bar + rule.sum_to(move * lam, a)
        for bar, move, lam, a in zip(step_bar, moves, lam_bar, step_size, strict=True)
    ]


def _limit(final_bar, adjoint_clip_norm):
    if adjoint_clip_norm is None:
        return None
    return tf.constant(adjoint_clip_norm, final_bar[0].dtype) * rule.norm(final_bar)


def _limited(lam_bar, vel_bar, limit):
    """Scales an example's whole adjoint state down once it outgrows its limit."""
    if limit is None:
        return lam_bar, vel_bar
    size = rule.norm(lam_bar)
    scale = tf.where(size > limit, rule.divide_safely(limit, size), tf.ones_like(size))
    return (
        [rule.spread(scale, b) * b for b in lam_bar],
        [rule.spread(scale, b) * b for b in vel_bar],
    )


def _sum_dtype(tensor):
    """K products are summed in float32 at least, whatever theta computes in."""
    return tensor.dtype if tensor.dtype in (tf.float32, tf.float64) else tf.float32
