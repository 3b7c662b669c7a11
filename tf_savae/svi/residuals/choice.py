"""Choose the residuals that steps keep: the program of least cost that fits into memory.

A training step costs 6K + 3 decoder passes with all residuals, 7K + 3 with states alone and 8K + 3
with none. The memory is K times the size of the residuals in a trace of one step.
"""

from typing import Any

import tensorflow as tf
from absl import logging

from tf_savae.core.typing import NegativeElbo, Nest
from tf_savae.svi import hvp as hvps
from tf_savae.svi.objective import Objective
from tf_savae.svi.per_example import Tensors
from tf_savae.svi.residuals import memory
from tf_savae.svi.residuals.programs import Operations, Program, Recomputed, Taped, Whole

__all__ = ["choose_residuals", "program_for"]

_SHARE = 2  # Residuals may take the free memory divided by this number.
_CHOSE = "keep='auto' chose %s: %s"
_CANNOT = (*hvps.CANNOT, RuntimeError)


def choose_residuals(
    negative_elbo: NegativeElbo,
    initial: Nest,
    theta: Nest,
    *,
    steps: int,
    adjoint: Any,
    samples: int = 1,
) -> str | None:
    """Returns the residuals that K steps keep: the setting, or for "auto" the most that fits.

    Call it with a batch of the size that training will use. Sizes are taken from a trace; nothing
    is computed. The choice and the sizes are logged in one line.

    Args:
      negative_elbo, initial, theta, steps, samples: as in `refine`.
      adjoint: `svi.Exact` or `svi.Truncated`, with `residuals` and `budget`.

    Returns:
      "all", "states" or None.

    Raises:
      ValueError: the tensors of one step, or the requested residuals, exceed the free memory.

    >>> from tf_savae import svi
    >>> def bowl(parameters, theta, seed):
    ...     return tf.reduce_sum((parameters - theta) ** 4, axis=1)
    >>> choose_residuals(bowl, tf.ones([3, 2]), tf.zeros([2]), steps=5, adjoint=svi.Exact())
    'all'
    """
    initial = tf.nest.map_structure(tf.convert_to_tensor, initial)
    theta = tf.nest.map_structure(tf.convert_to_tensor, theta)
    objective = Objective(negative_elbo, initial, theta, samples)
    flat = tf.nest.flatten(initial), tf.nest.flatten(theta)
    free = memory.free_bytes()
    if adjoint.residuals != "auto":
        program = _asked_for(objective, *flat, adjoint, eager=False)
        _refuse_too_much(program, steps, free, adjoint.residuals)
        return program.level
    return _fitting(objective, *flat, steps, adjoint, free).level


def program_for(
    objective: Objective, initial: Tensors, theta: Tensors, steps: int, adjoint: Any
) -> Program:
    """Returns the program of an adjoint, for flat lists; resolves residuals "auto".

    In eager mode "auto" keeps nothing.
    """
    if adjoint.depth_of(steps) == 0:
        return Recomputed(objective, theta)
    eager = tf.executing_eagerly()
    if adjoint.residuals != "auto":
        return _asked_for(objective, initial, theta, adjoint, eager)
    if eager:
        return Recomputed(objective, theta, adjoint.product())
    return _fitting(objective, initial, theta, steps, adjoint, memory.free_bytes())


def _asked_for(objective, initial, theta, adjoint, eager):
    """Returns the program of a level other than "auto"."""
    level = adjoint.residuals
    if level is None:
        return Recomputed(objective, theta, adjoint.product())
    if adjoint.hvp != "reverse_over_reverse":
        program = Operations(objective, theta, initial, level)
        if program.specs:
            return program
    if level != "all":
        raise ValueError(
            "keep, residuals: expected a decoder with operations that store residuals at "
            f"{level!r} (such as networks.token_nll), got one without, so the setting would have "
            'no effect. Use "auto", or "all", which works with any decoder.'
        )
    if eager:
        return Taped(objective, theta)
    try:
        return Whole(objective, theta, initial)
    except NotImplementedError as error:
        raise ValueError(
            'keep, residuals: expected a decoder whose steps can be stored with "all", got one '
            f'where {error} (in a loop, such as a Keras LSTM or tf_savae.svi.scan). Use "auto", or '
            "write its loop with networks.lstm."
        ) from error


def _fitting(objective, initial, theta, steps, adjoint, free):
    """Returns the program of least cost that fits into memory; logs the sizes."""
    budget, given = adjoint.budget, adjoint.budget is not None
    if budget is None and free is not None:
        budget = free // _SHARE
    whose = "the budget" if given else "half of the free memory"
    within = "no known limit" if budget is None else f"{whose}, {memory.in_words(budget)}"
    sizes = []
    for program in _candidates(objective, initial, theta, adjoint):
        size = size_of(program.specs)
        if size is None:
            sizes.append(f"{program.level} of unknown size")
            continue
        if isinstance(program, Whole):  # Other programs need less memory at a time.
            _refuse_too_large_a_step(size, free)
        sizes.append(f"{program.level} {steps} x {memory.in_words(size)}")
        if budget is None or steps * size <= budget:
            logging.info(_CHOSE, program.level, f"{', '.join(sizes)}, within {within}")
            return program
    why = f"{', '.join(sizes)}, not within {within}"
    if not sizes:
        why = "the decoder's steps cannot be stored"
        if adjoint.hvp not in ("auto", "reverse_over_reverse"):  # Those can store whole steps.
            why += f" with hvp={adjoint.hvp!r}"
    logging.info(_CHOSE, "none", why)
    return Recomputed(objective, theta, adjoint.product())


def _candidates(objective, initial, theta, adjoint):
    """Yields the programs that keep residuals and can be traced, fastest first."""
    if adjoint.hvp not in ("auto", *hvps.EXACT):
        return
    found = False
    for level in ("all", "states"):
        program = _operations(objective, initial, theta, adjoint, level)
        if program is not None:
            found = True
            yield program
    if not found and adjoint.hvp != "forward_over_reverse":  # Whole steps use the other product.
        try:
            yield Whole(objective, theta, initial)
        except _CANNOT as error:
            logging.debug("keep='auto': a whole step cannot be stored: %s", error)


def _operations(objective, initial, theta, adjoint, level):
    if adjoint.hvp == "reverse_over_reverse":
        return None
    try:
        program = Operations(objective, theta, initial, level)
        if program.specs:
            program.check(initial)
            return program
    except _CANNOT as error:
        logging.debug("keep='auto': %s is not supported for this decoder: %s", level, error)
    return None


def size_of(specs):
    """Returns the bytes of all tensors; None if a size is unknown.

    >>> size_of([tf.TensorSpec([2, 3], tf.float32)])
    24
    """
    counts = [spec.shape.num_elements() for spec in specs]
    if None in counts:
        return None
    return sum(c * s.dtype.size for c, s in zip(counts, specs, strict=True))


def _refuse_too_large_a_step(size, free):
    if free is not None and size > free:
        raise ValueError(
            "keep: expected one refinement step whose tensors fit into memory, got one that "
            f"computes {memory.in_words(size)} with {memory.in_words(free)} free. Use a smaller "
            "batch or a smaller decoder."
        )


def _refuse_too_much(program, steps, free, level):
    size = size_of(program.specs)
    if level is not None and None not in (free, size) and steps * size > free:
        raise ValueError(
            f"keep: expected residuals that fit into memory, got {level!r}, which stores "
            f"{memory.in_words(steps * size)} for {steps} steps with {memory.in_words(free)} free. "
            'Use "auto" or a smaller batch.'
        )
