"""Tangents of a recurrence whose states were saved by the refinement step.

In forward mode, the recurrence of `recurrences.py` computes primal and tangent rows together. If
the refinement step saved its states, pre-activations and the adjoints of its backward loop, half of
the forward and half of the backward computation is known: in <grad f, v>, the adjoint of the
tangents is the gradient of f.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.ops.layout import Layout
from tf_savae.ops.time_loop import length, over_time, time_slices

__all__ = ["kept_dual"]


def kept_dual(
    cell: Callable[[tf.Tensor, Any], Any],
    layout: Layout,
    inputs: tf.Tensor,
    inputs_dot: tf.Tensor,
    kernel: tf.Tensor,
    state: Sequence[tf.Tensor],
    state_dot: Sequence[tf.Tensor],
    kept: dict[str, Any],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns h after each step and its tangent, [T, B, H] each.

    The arguments not listed are those of `recurrence`, and their tangents.

    Args:
      cell: the pointwise function of a pre-activation, in the layout of the loop.
      layout: the `Layout` of the loop.
      kept: dict: "befores" (states before each step, each [T, B, *]), "activations" [T, B, G],
        "outputs" [T, B, H], and the adjoints "bars" (of the states after each step, like
        "befores") and "first_bars" (of the first state).
    """
    count = len(state)

    @tf.custom_gradient
    def run(inputs, inputs_dot, kernel, *states):
        del inputs
        dots, outputs_dot = _tangents(cell, layout, kept, inputs_dot, kernel, states[count:])

        def pull(upstream, _):
            forward_mode.refuse_third_derivatives("lstm")
            # The saved adjoints are those that `upstream_dot` would give.
            rows_bar, rows_dot_bar, first_bars = _backward(
                cell, layout, kept, dots, upstream, kernel
            )
            kernel_bar = _product(kept["befores"][0], rows_bar)
            kernel_bar += _product(dots["befores"][0], rows_dot_bar)
            return rows_bar, rows_dot_bar, kernel_bar, *first_bars, *kept["first_bars"]

        return (kept["outputs"], outputs_dot), pull

    return run(inputs, inputs_dot, kernel, *state, *state_dot)


def _product(befores, bars):
    flat = [tf.reshape(t, [-1, t.shape[-1]]) for t in (befores, bars)]
    return tf.matmul(*flat, transpose_a=True)


def _step(cell, primals, dots):
    """Returns the next state and its tangent, from (activation, *state) and their tangents."""
    with forward_mode.accumulate(list(primals), list(dots)) as forward:
        following = cell(primals[0], tuple(primals[1:]))
    return following, forward.jvp(following, unconnected_gradients="zero")


def _tangents(cell, layout, kept, inputs_dot, kernel, state_dot):
    """Returns {"befores", "activations"} of the tangents, and the tangents of h after each step."""
    steps = length(inputs_dot)
    specs = [*state_dot, inputs_dot[0], state_dot[0]]
    arrays = [tf.TensorArray(s.dtype, steps, element_shape=s.shape) for s in specs]
    known = [time_slices(t) for t in (inputs_dot, kept["activations"], *kept["befores"])]
    weights = layout.turn(kernel)

    def body(time, dots, arrays):
        here, *primals = [layout.turn(rows.read(time)) for rows in known]
        activation_dot = here + layout.project(dots[0], weights)
        _, following = _step(cell, primals, [activation_dot, *dots])
        entries = map(layout.turn, [*dots, activation_dot, following[0]])
        arrays = [a.write(time, e) for a, e in zip(arrays, entries, strict=True)]
        return tuple(following), arrays

    _, arrays = over_time(steps, body, (tuple(map(layout.turn, state_dot)), arrays))
    stacks = [array.stack() for array in arrays]
    return {"befores": stacks[:-2], "activations": stacks[-2]}, stacks[-1]


def _backward(cell, layout, kept, dots, upstream, kernel):
    """Returns gradients w.r.t. the inputs, their tangents, [T, B, G] each, and the first state."""
    steps = length(upstream)
    count = len(kept["befores"])
    gates = kept["activations"]
    arrays = [tf.TensorArray(gates.dtype, steps, element_shape=gates.shape[1:]) for _ in range(2)]
    known = [upstream, gates, *kept["befores"], dots["activations"], *dots["befores"]]
    known = [time_slices(tensor) for tensor in [*known, *kept["bars"]]]

    def body(done, bars, arrays):
        time = steps - 1 - done
        here, *values = [layout.turn(rows.read(time)) for rows in known]
        primals, tangents = values[: count + 1], values[count + 1 : 2 * count + 2]
        bars_dot = values[2 * count + 2 :]
        bars = (bars[0] + here, *bars[1:])
        # h, the first tensor of the state, is used only through the activation.
        sources = [primals[0], *primals[2:], tangents[0]]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            following, following_dot = _step(cell, primals, tangents)
        *pulled, dot_bar = tape.gradient(
            [*following, *following_dot],
            sources,
            output_gradients=[*bars, *bars_dot],
            unconnected_gradients="zero",
        )
        hidden_bar = layout.project_back(pulled[0], kernel)
        entries = map(layout.turn, (pulled[0], dot_bar))
        arrays = [a.write(time, e) for a, e in zip(arrays, entries, strict=True)]
        return (hidden_bar, *pulled[1:]), arrays

    zeros = tuple(tf.zeros_like(layout.turn(bars[0])) for bars in kept["bars"])
    first_bars, arrays = over_time(steps, body, (zeros, arrays))
    return arrays[0].stack(), arrays[1].stack(), tuple(map(layout.turn, first_bars))
