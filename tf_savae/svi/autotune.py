"""Measure which Hessian-vector product is fastest for a decoder."""

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import logging

from tf_savae.core import seeds
from tf_savae.core.typing import NegativeElbo, Nest, Seed
from tf_savae.svi import hvp as hvps
from tf_savae.svi.objective import Objective

__all__ = ["fastest_hvp"]


def fastest_hvp(
    negative_elbo: NegativeElbo,
    initial: Nest,
    theta: Nest,
    *,
    seed: Seed = 0,
    jit_compile: bool | None = None,
    repeats: int = 3,
) -> str:
    """Measures both exact Hessian-vector products and returns the name of the faster one.

    Call it eagerly, with a batch of the size that training will use. A product that cannot be
    traced for this decoder is not chosen. If the results differ, reverse over reverse is chosen,
    with a warning.

    Args:
      negative_elbo, initial, theta: as in `refine`, with eager tensors.
      seed: int or stateless seed [2].
      jit_compile: whether training will be compiled with XLA.
      repeats: timed runs of each product, after one that compiles; medians are compared.

    Returns:
      "forward_over_reverse" or "reverse_over_reverse"; the choice and the times are logged.

    Raises:
      RuntimeError: neither product can be computed for this decoder.

    >>> fastest_hvp(lambda p, w, s: tf.reduce_sum((p * w) ** 4, 1), tf.ones([2, 3]), tf.ones([3]),
    ...             repeats=1) in ("forward_over_reverse", "reverse_over_reverse")
    True
    """
    objective = Objective(negative_elbo, initial, theta)
    arguments = (tf.nest.flatten(initial), tf.nest.flatten(theta), seeds.as_seed(seed))
    products, times = {}, {}
    for name in hvps.EXACT:
        timed = _timed(hvps.METHODS[name], objective, arguments, jit_compile, repeats)
        times[name], products[name] = timed
    possible = {name: t for name, t in times.items() if isinstance(t, float)}
    if not possible:
        raise RuntimeError(
            "hvp='auto': no exact Hessian-vector product can be computed for this decoder: "
            + "; ".join(f"{name}: {error}" for name, error in times.items())
            + ' If it has first derivatives, use hvp="finite_difference".'
        )
    best = min(possible, key=lambda name: possible[name])
    if len(possible) == len(hvps.EXACT) and _disagree(*products.values()):
        best = "reverse_over_reverse"
        logging.warning(
            "hvp='auto': the two exact Hessian-vector products differ for this decoder; using %s. "
            "Operations with custom gradients may be the cause.",
            best,
        )
    shown = ", ".join(
        f"{n} {1e3 * t:.2f} ms" if isinstance(t, float) else f"{n} impossible ({t})"
        for n, t in times.items()
    )
    logging.info("hvp='auto' chose %s: %s", best, shown)
    return best


def _disagree(left, right):
    """Returns whether two products differ by more than 1% of their norm, beyond float32 error."""
    flat = [np.concatenate([np.ravel(t) for t in tf.nest.flatten(p)]) for p in (left, right)]
    size = max(np.linalg.norm(values) for values in flat)
    return np.linalg.norm(flat[0] - flat[1]) > 1e-2 * size


def _timed(product, objective, arguments, jit_compile, repeats):
    """Returns (median seconds, the product), or (why it cannot be computed, None)."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(parameters, theta, seed):
        return product(objective, parameters, theta, seed, [tf.ones_like(p) for p in parameters])

    try:
        answer = tf.nest.map_structure(lambda t: t.numpy(), run(*arguments))
    except hvps.CANNOT as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        return f"{type(error).__name__}: {reason}", None
    seconds = []
    for index in range(repeats):
        parameters, theta, seed = arguments
        other = _as_after_an_update(theta, index)
        start = time.perf_counter()
        run(parameters, other, seed)[0][0].numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def _as_after_an_update(theta, index):
    """Returns changed weights, so that the times include any recompilation."""
    factor = 1.0 + 0.01 * (index + 1)
    return [t * tf.cast(factor, t.dtype) if t.dtype.is_floating else t for t in theta]
