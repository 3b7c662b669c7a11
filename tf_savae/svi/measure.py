"""Which Hessian-vector product is faster for the decoder at hand: measured, not guessed."""

import statistics
import time

import tensorflow as tf
from absl import logging

from tf_savae.ground import seeds
from tf_savae.svi import hvp as hvps
from tf_savae.svi.evaluation import Objective

__all__ = ["fastest_hvp"]

_EXACT = ("forward_over_reverse", "reverse_over_reverse")


def fastest_hvp(negative_elbo, initial, theta, *, seed=0, jit_compile=None, repeats=3):
    """Times both exact Hessian-vector products on real tensors and names the faster.

    Call it eagerly, with a batch of the size that training will use. A product that cannot be
    traced for this decoder loses.

    Args:
      negative_elbo, initial, theta: as in `refine`, with eager tensors.
      seed: int or stateless seed [2].
      jit_compile: whether training will be compiled with XLA.
      repeats: timed runs of each product, after one that compiles; the median counts.

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
    times = {
        name: _median_seconds(hvps.METHODS[name], objective, arguments, jit_compile, repeats)
        for name in _EXACT
    }
    possible = {name: t for name, t in times.items() if isinstance(t, float)}
    if not possible:
        raise RuntimeError(
            "hvp='auto': no exact Hessian-vector product can be computed for this decoder: "
            + "; ".join(f"{name}: {error}" for name, error in times.items())
        )
    best = min(possible, key=possible.get)
    shown = ", ".join(
        f"{n} {1e3 * t:.2f} ms" if isinstance(t, float) else f"{n} impossible ({t})"
        for n, t in times.items()
    )
    logging.info("hvp='auto' chose %s: %s", best, shown)
    return best


def _median_seconds(product, objective, arguments, jit_compile, repeats):
    """Median seconds of one product, or a line that says why it cannot be computed."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(parameters, theta, seed):
        return product(objective, parameters, theta, seed, [tf.ones_like(p) for p in parameters])

    try:
        tf.nest.map_structure(lambda t: t.numpy(), run(*arguments))
    except hvps.CANNOT as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    seconds = []
    for index in range(repeats):
        parameters, theta, seed = arguments
        other = _as_after_an_update(theta, index)
        start = time.perf_counter()
        run(parameters, other, seed)[0][0].numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _as_after_an_update(theta, index):
    """Other weights at every repeat: a program that compiles anew for each must show it."""
    factor = 1.0 + 0.01 * (index + 1)
    return [t * tf.cast(factor, t.dtype) if t.dtype.is_floating else t for t in theta]
