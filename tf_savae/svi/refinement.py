"""`refine`: K steps of SVI on the variational parameters of each example."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import NegativeElbo, Nest, Seed, TensorLike
from tf_savae.svi import loop
from tf_savae.svi.adjoints import Adjoint
from tf_savae.svi.functional_rule import BoundRule
from tf_savae.svi.objective import Objective
from tf_savae.svi.rule_checks import as_rule, check_rule
from tf_savae.svi.short_forms import as_adjoint, short_forms_of

__all__ = ["Trace", "refine"]

_DEFAULTS = {"momentum": 0.5}  # Not used with an update rule.


class Trace(NamedTuple):
    """Diagnostics of the refinement steps, per example; all but `path_objective` are constants."""

    negative_elbo: Any  # [K + 1, B], nats, at lambda_0 to lambda_K, each with its step's noise.
    gradient_norm: Any  # [K, B], norms of the SVI gradient before clipping.
    steps: Any  # [B] int32, steps taken (K unless refinement stopped early).
    initial_gradient: Any = None  # Nest like `initial`: the SVI gradient at lambda_0, unclipped.
    path_objective: Any = None  # [K, B], nats: `negative_elbo` at lambda_0 to lambda_{K-1} with its
    # gradient in lambda_k, theta held constant; only with return_trace="path", not for K = 0 or
    # adjoint "stop".


def refine(
    negative_elbo: NegativeElbo,
    initial: Nest,
    theta: Nest,
    *,
    steps: TensorLike,
    step_size: Nest = None,
    momentum: float = 0.5,
    clip_norm: float | None = None,
    update: Any = None,
    seed: Seed,
    adjoint: str | Adjoint = "exact",
    hvp: str | Callable | None = None,
    return_trace: bool | str = False,
    truncate: int | None = None,
    adjoint_clip_norm: float | None = None,
    samples: int = 1,
    early_stopping: float | None = None,
    backward_probe: tf.Tensor | None = None,
    keep: str | None = "auto",
    keep_budget: int | None = None,
) -> Any:
    """Refines each example's variational parameters by K steps of gradient descent with momentum.

    Algorithm 1 of Kim et al. (2018), https://arxiv.org/abs/1802.02550. Steps and clipping are
    per example: an example's result does not depend on the others in its batch. `adjoint`
    determines the derivative of the result with respect to `initial`, `theta` and `step_size`.

    Args:
      negative_elbo: maps (parameters, theta, seed) to [B], nats per example. It must be a pure
        function: all weights are passed in `theta`, and all noise is derived from `seed`.
      initial: nest of float32 or float64 tensors [B, ...], the parameters before refinement.
      theta: nest of tensors the objective depends on: weights, and anything computed from them
        once. Float leaves of any dtype receive gradients.
      steps: K >= 0, a Python int; also an int32 scalar tensor if adjoint is "stop" and no trace is
        requested.
      step_size, momentum, clip_norm: short forms of `update=svi.Momentum(step_size, momentum,
        clip_norm)`.
      update: the update rule, see `tf_savae.svi.update`: `svi.Momentum`, `svi.NaturalGradient`,
        `svi.LearnedSteps`, `svi.LearnedUpdate`, or a custom rule. Its weights receive gradients.
      seed: int, or int32 tensor [2]. Step k draws its noise from fold(seed, k); a fresh sample
        for the final ELBO is fold(seed, K).
      adjoint: how gradients are propagated through the steps: `svi.Exact`, `svi.Truncated`,
        `svi.Unrolled` or `svi.Stop`, or a short form: "exact" (algorithm 1's backward pass),
        "truncated" (exact through the last `truncate` steps, the identity through those before),
        "unrolled" (autodiff through the unrolled steps, memory and compile time grow with K),
        "stop" (none).
      hvp, keep, truncate, adjoint_clip_norm, keep_budget: short forms of the settings hvp,
        residuals, depth, clip_norm and budget of `svi.Exact` and `svi.Truncated`; only valid if
        `adjoint` is a string. keep is "auto" by default: the residuals that fit into memory at
        tracing time. For a program that does not depend on the free memory, use another value. hvp
        is "auto" by default if keep is, else "forward_over_reverse".
      return_trace: also return a `Trace`, at the cost of one more evaluation, the ELBO at lambda_K.
        "values" omits that evaluation: negative_elbo is [K, B], at no additional cost. "path" adds
        `path_objective`, whose gradients cost a few operations per step and no evaluation.
      samples: S, posterior samples per step, averaged. `negative_elbo` is called S times, or, if it
        has a method `average` that maps (parameters, theta, list of S seeds) to the average [B],
        that is called once.
      early_stopping: nats; only with adjoint "stop": an example stops at its best parameters
        after a step that improves its ELBO by less. All steps then use the same noise.
      backward_probe: zeros [B, 3]; its "gradient" contains diagnostics of the backward pass:
        adjoint growth (norm at step 0 over norm at step K), the largest curvature, and the
        encoder's signal (cosine between the adjoint at step 0 and the SVI gradient at lambda_0).
        With adjoint "unrolled" and "stop" there are none. They are passed as a gradient since they
        are known only in the backward pass, where `tf.custom_gradient` returns only gradients.

    Returns:
      The refined nest, of the structure of `initial`; with `return_trace` a pair of it and a
      `Trace`.

    Raises:
      ValueError, TypeError: an argument is out of its range or of a wrong shape or dtype, or
        `negative_elbo` does not return one float per example.

    >>> def negative_elbo(parameters, theta, seed):
    ...     return 0.5 * tf.reduce_sum((parameters - theta) ** 2, axis=1)
    >>> refined = refine(negative_elbo, tf.zeros([1, 2]), tf.ones([2]), steps=20, step_size=0.5,
    ...                  momentum=0.0, seed=0)
    >>> refined.numpy().round(3).tolist()
    [[1.0, 1.0]]
    """
    # Identities, since one tensor may occur several times, each with a derivative of its own.
    initial = tf.nest.map_structure(tf.identity, validation.floating_nest("initial", initial))
    theta = tf.nest.map_structure(_own, theta)
    if not isinstance(return_trace, str) or return_trace not in ("path", "values"):
        validation.boolean("return_trace", return_trace)
    steps = steps if tf.is_tensor(steps) else validation.non_negative_int("steps", steps)
    short = {"keep": keep, "truncate": truncate, "adjoint_clip_norm": adjoint_clip_norm}
    short["keep_budget"] = keep_budget
    crossing = _adjoint_for(steps, adjoint, hvp, **short)
    crossing.check_request(steps, return_trace, early_stopping)
    flat = tf.nest.flatten(initial)
    samples = validation.positive_int("samples", samples)
    objective = Objective(negative_elbo, initial, theta, samples)
    rule = as_rule(update, _DEFAULTS, step_size=step_size, momentum=momentum, clip_norm=clip_norm)
    check_rule(rule, initial)
    bound = BoundRule(rule, initial)
    settings = loop.Settings(
        steps=tf.cast(steps, tf.int32) if tf.is_tensor(steps) else steps,
        rule=bound,
        weights=bound.weights,
        seed=seeds.as_seed(seed),
        early_stopping=validation.positive(
            "early_stopping", early_stopping, zero=True, optional=True
        ),
        path_gradient=return_trace == "path",
    )
    flat_theta = tf.nest.flatten(theta)
    probe = _probe(backward_probe, flat[0])
    bound.init(bound.weights, flat)  # Raises now if the rule does not fit the parameters.
    final, seen = crossing.run(objective, flat, flat_theta, settings, probe)
    refined = tf.nest.pack_sequence_as(initial, final)
    if not return_trace:
        return refined
    trace = _trace_of(seen, initial)
    if isinstance(return_trace, str):
        return refined, trace
    return refined, _with_end(trace, objective, final, flat_theta, settings)


def _own(leaf):
    """Returns a float leaf as a distinct tensor (identity); another leaf as a tensor."""
    tensor = tf.convert_to_tensor(leaf)
    return tf.identity(tensor) if tensor.dtype.is_floating else tensor


def _adjoint_for(steps, adjoint, hvp, **short):
    """Returns the adjoint as an object; for a string, hvp has the default of `refine`."""
    if hvp is None and isinstance(adjoint, str) and "hvp" in short_forms_of(adjoint):
        chosen = isinstance(short["keep"], str) and short["keep"] == "auto"
        hvp = "auto" if chosen else "forward_over_reverse"
    return as_adjoint(adjoint, None if tf.is_tensor(steps) else steps, hvp=hvp, **short)


def _probe(backward_probe, leaf):
    if backward_probe is None:
        return tf.zeros([tf.shape(leaf)[0], 3], leaf.dtype)
    probe = tf.convert_to_tensor(backward_probe)
    if probe.shape.rank != 2 or probe.shape[1] != 3:
        raise ValueError(f"backward_probe: expected shape [B, 3], got {probe.shape.as_list()}.")
    return tf.cast(probe, leaf.dtype)


def _trace_of(seen, initial):
    first = None if seen.first is None else tf.nest.pack_sequence_as(initial, seen.first)
    return Trace(seen.values, seen.norms, seen.taken, first, seen.path)


def _with_end(trace, objective, final, theta, settings):
    """Returns the trace with the ELBO at lambda_K, which takes one more evaluation."""
    if trace.gradient_norm is None:  # Stopped early: only the best value is known.
        return trace
    seed = seeds.fold(settings.seed, settings.steps)
    last = tf.stop_gradient(objective.value(final, theta, seed))
    values = tf.concat([trace.negative_elbo, tf.cast(last, trace.negative_elbo.dtype)[None]], 0)
    return trace._replace(negative_elbo=values, steps=tf.fill(tf.shape(last), settings.steps))
