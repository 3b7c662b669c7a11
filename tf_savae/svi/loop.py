"""The K refinement steps as one while loop; a single step as none."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import TensorLike
from tf_savae.svi import per_example
from tf_savae.svi.objective import Objective
from tf_savae.svi.per_example import Tensors
from tf_savae.svi.residuals.programs import Program, Recomputed

__all__ = ["Path", "Settings", "descend", "repeat", "stacked_path"]


class Settings(NamedTuple):
    """Validated settings of refinement, in the form that the loops use."""

    steps: Any  # K, a Python int, or an int tensor with adjoint "stop".
    rule: Any  # `BoundRule`.
    weights: list  # Tensors that the rule depends on.
    seed: Any
    early_stopping: float | None = None  # Nats; only with adjoint "stop".
    path_gradient: bool = True  # Whether `LoopInfo.path` is needed, with its gradients.


class Path(NamedTuple):
    """Arguments and results of steps 0 to K - 1; each leaf is stacked along a first axis of K."""

    parameters: list  # lambda_k, before the step.
    gradients: list  # Raw, before clipping.
    states: list  # Of the update rule, before the step.
    values: Any  # [K, B], negative ELBO at lambda_k, nats.
    gradient_norms: Any  # [K, B], before clipping.
    kept: Any  # step -> flat list of its residuals.


def one_step(
    objective: Objective,
    parameters: Tensors,
    state: Tensors,
    theta: Tensors,
    step: TensorLike,
    settings: Settings,
) -> tuple[tuple[Tensors, Tensors], tuple[tf.Tensor, Tensors]]:
    """Takes step `step` of algorithm 1; returns ((parameters, state), (values, gradient))."""
    values, gradient = objective.gradient(parameters, theta, seeds.fold(settings.seed, step))
    following = settings.rule.update(settings.weights, gradient, state, parameters, step)
    return following, (values, gradient)


def descend(objective: Objective, initial: Tensors, theta: Tensors, settings: Settings) -> Tensors:
    """Takes K steps, storing only the current state; K may be an int tensor."""
    steps = settings.steps

    def body(step, parameters, state):
        following, _ = one_step(objective, parameters, state, theta, step, settings)
        return step + 1, *following

    _, parameters, _ = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), list(initial), settings.rule.init(settings.weights, initial)),
        parallel_iterations=1,
    )
    return parameters


def repeat(count: int, body: Callable[..., tuple], start: tuple) -> Any:
    """Returns the result of `count` >= 1 calls of `body`, whose first argument is the call's index.

    A single call needs no loop: TensorFlow's graph optimizer then fuses operations of the step with
    those around it.

    Args:
      count: Python int.
      body: function of the loop's variables that returns their next values, with the index + 1.
      start: their first values; the index is an int32 tensor.

    >>> [int(value) for value in repeat(3, lambda i, total: (i + 1, total + i), (0, 10))]
    [3, 13]
    """
    if count == 1:
        return body(*start)
    return tf.while_loop(
        lambda index, *_: index < count,
        body,
        start,
        parallel_iterations=1,
        maximum_iterations=count,
    )


def stacked_path(
    objective: Objective,
    initial: Tensors,
    theta: Tensors,
    settings: Settings,
    program: Program | None = None,
) -> tuple[Tensors, Path]:
    """Takes K >= 1 steps, K a Python int; returns (parameters, `Path`).

    Args:
      objective, initial, theta, settings: as in `descend`, flat lists.
      program: computes gradients and residuals, see `residuals.programs`; by default no residuals.
    """
    count = len(initial)
    batch = initial[0].shape[:1]
    dtype = initial[0].dtype
    program = Recomputed(objective, theta) if program is None else program
    program.begin()
    state = settings.rule.init(settings.weights, initial)
    leaves = [tf.TensorSpec.from_tensor(p) for p in [*initial, *initial, *state]]
    leaves += [tf.TensorSpec(batch, dtype)] * 2 + list(program.specs)
    arrays = [
        tf.TensorArray(s.dtype, settings.steps, element_shape=s.shape, clear_after_read=False)
        for s in leaves
    ]

    def body(step, parameters, state, arrays):
        seed = seeds.fold(settings.seed, step)
        values, gradient, kept = program.gradient(step, parameters, seed)
        following = settings.rule.update(settings.weights, gradient, state, parameters, step)
        norm = per_example.norm(gradient)
        entries = [*parameters, *gradient, *state, tf.cast(values, dtype), norm, *kept]
        arrays = [a.write(step, entry) for a, entry in zip(arrays, entries, strict=True)]
        return step + 1, *following, arrays

    start = (tf.constant(0), list(initial), state, arrays)
    _, parameters, _, arrays = repeat(settings.steps, body, start)
    own = 2 * count + len(state) + 2
    arrays, kept = arrays[:own], arrays[own:]
    stacks = [array.stack() for array in arrays]
    path = Path(
        stacks[:count],
        stacks[count : 2 * count],
        stacks[2 * count : -2],
        stacks[-2],
        stacks[-1],
        # Read from the arrays: stacking the residuals could copy gigabytes.
        lambda step: [array.read(step) for array in kept],
    )
    return parameters, path
