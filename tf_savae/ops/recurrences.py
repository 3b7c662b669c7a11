"""A recurrence with custom first and second derivatives: the time loop of all LSTMs.

One step computes a_t = inputs_t + h_{t-1} W, then an elementwise function of a_t and the state.
The backward loop therefore has one small matrix product per step, and the gradient of W is one
large product after the loop. In forward mode the tangents are additional rows of the batch: the
dual recurrence is the same recurrence with the same W and twice the rows.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_savae.autodiff import forward_mode, residuals
from tf_savae.ops.layout import BATCH_FIRST, faster
from tf_savae.ops.recurrence_replay import kept_dual
from tf_savae.ops.time_loop import length, over_time, time_slices

__all__ = ["lstm", "lstm_step", "recurrence"]


def lstm(inputs: tf.Tensor, kernel: tf.Tensor, hidden: tf.Tensor, cell: tf.Tensor) -> tf.Tensor:
    """LSTM over projected inputs (Hochreiter & Schmidhuber 1997; gates: input, forget, new, out).

    Args:
      inputs: [T, B, 4H], the inputs times their kernel plus the bias.
      kernel: [H, 4H], the recurrent weights.
      hidden, cell: [B, H], the state before the first step.

    Returns:
      The hidden states [T, B, H], differentiable to second order in forward and reverse mode.

    >>> states = lstm(tf.zeros([3, 2, 8]), tf.zeros([2, 8]), tf.zeros([2, 2]), tf.zeros([2, 2]))
    >>> states.shape.as_list()
    [3, 2, 2]
    """
    return _recurrence(_lstm_cell, inputs, kernel, (hidden, cell))


def lstm_step(
    activation: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the next (h, c) [B, H], from the pre-activation [B, 4H] and (h, c)."""
    return BATCH_FIRST.cell(_lstm_cell)(activation, state)


def _lstm_cell(gates, state):
    """Returns the next (h, c) from four pre-activations and (h, c): the elementwise part."""
    cell = tf.sigmoid(gates[1]) * state[1] + tf.sigmoid(gates[0]) * tf.tanh(gates[2])
    return tf.sigmoid(gates[3]) * tf.tanh(cell), cell


def recurrence(
    pointwise: Callable[[Any, Any], Any],
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    state: tuple[tf.Tensor, ...],
) -> tf.Tensor:
    """Runs state = pointwise(inputs_t + h W, state) over time; the state's first tensor is h.

    Args:
      pointwise: maps (list of G / H gates, tuple of state tensors) to the next state. The gates are
        equal parts of the pre-activation. All tensors have the same shape, [B, H] or [H, B], so
        the function must be elementwise. It must not use h itself, nor captured tensors that need
        a gradient; captures are checked only in graph mode.
      inputs: [T, B, G].
      kernel: [H, G].
      state: tuple of tensors [B, H], the first h.

    Returns:
      h after each step, [T, B, H].

    Raises:
      ValueError: in graph mode, `pointwise` captures a float tensor that is not a constant.

    >>> def elman(gates, state):
    ...     return (tf.tanh(gates[0]),)
    >>> state = (tf.zeros([2, 4]),)
    >>> recurrence(elman, tf.ones([3, 2, 4]), tf.eye(4), state).shape.as_list()
    [3, 2, 4]
    """
    inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
    state = tuple(tf.convert_to_tensor(tensor) for tensor in state)
    _refuse_captures(pointwise, inputs, state)
    return _recurrence(pointwise, inputs, kernel, state)


def _refuse_captures(pointwise, inputs, state):
    """Raises if `pointwise` captures tensors, which the custom gradient would ignore."""
    if (
        tf.executing_eagerly()
    ):  # In eager mode, tracing converts small captured tensors to constants.
        return
    specs = tuple(tf.TensorSpec.from_tensor(tensor) for tensor in state)
    gates = [specs[0]] * (inputs.shape[-1] // state[0].shape[-1])
    with forward_mode.paused():
        traced = tf.function(pointwise, autograph=False).get_concrete_function(gates, specs)
    captured = [tensor for tensor in traced.captured_inputs if tensor.dtype.is_floating]
    captured = [tensor for tensor in captured if tf.get_static_value(tensor) is None]
    if captured:
        raise ValueError(
            f"recurrence: pointwise captures {captured[0].name}, which would receive no gradient; "
            "expected a function of the gates and the state only. Fold weights into inputs and "
            "kernel, or write the loop with tf_savae.svi.scan."
        )


def _recurrence(pointwise, inputs, kernel, state):
    tangents = forward_mode.tangents_of([inputs, *state])
    if tangents is None:
        layout = faster(inputs.shape[1], kernel)
        slot = residuals.slot("recurrence")
        return _differentiable(layout.cell(pointwise), layout, inputs, kernel, state, slot)
    with forward_mode.paused():
        hidden, hidden_dot = _with_tangents(pointwise, inputs, kernel, state, tangents)
    return forward_mode.attach([hidden], [hidden_dot])[0]


def _with_tangents(pointwise, inputs, kernel, state, tangents):
    """Returns h after each step and its tangent, [T, B, H] each."""
    kept = residuals.replayed("recurrence")
    if kept:
        layout = faster(inputs.shape[1], kernel)
        cell = layout.cell(pointwise)
        return kept_dual(cell, layout, inputs, tangents[0], kernel, state, tangents[1:], kept)
    rows = tf.concat([inputs, tangents[0]], axis=1)
    states = tuple(tf.concat([s, dot], axis=0) for s, dot in zip(state, tangents[1:], strict=True))
    # Batch first: with twice the rows, transposing has no advantage.
    cell = _dual(BATCH_FIRST.cell(pointwise))
    both = _differentiable(cell, BATCH_FIRST, rows, kernel, states)
    shape = [length(inputs), 2, -1, state[0].shape[-1]]
    return tf.unstack(tf.reshape(both, shape), axis=1)


def _dual(cell):
    """Returns the cell for primal and tangent rows together, stacked as [2B, *]."""

    def halves(tensor):
        return tf.unstack(tf.reshape(tensor, [2, -1, *tensor.shape[1:]]), axis=0)

    def dual_cell(activation, state):
        primals, tangents = zip(*[halves(t) for t in (activation, *state)], strict=True)
        with forward_mode.accumulate(list(primals), list(tangents)) as forward:
            following = cell(primals[0], primals[1:])
        dots = forward.jvp(following, unconnected_gradients="zero")
        return tuple(tf.concat([n, d], axis=0) for n, d in zip(following, dots, strict=True))

    return dual_cell


def _differentiable(cell, layout, inputs, kernel, state, slot=None):
    """Returns h after each step; residuals of the loops are saved in `slot` unless it is None."""
    keeps_bars = slot is not None and slot.level == "all"

    @tf.custom_gradient
    def run(inputs, kernel, *state):
        befores, activations, outputs = _forward_loop(cell, layout, inputs, kernel, state)

        def pull(upstream):
            forward_mode.refuse_third_derivatives("lstm")
            inputs_bar, state_bar, bars = _backward_loop(
                cell, layout, befores, activations, kernel, upstream, keeps_bars
            )
            if keeps_bars:
                slot.update(
                    befores=befores,
                    activations=activations,
                    outputs=outputs,
                    bars=bars,
                    first_bars=list(state_bar),
                )
            width, hidden = kernel.shape[1], kernel.shape[0]
            kernel_bar = tf.matmul(
                tf.reshape(befores[0], [-1, hidden]),
                tf.reshape(inputs_bar, [-1, width]),
                transpose_a=True,
            )
            return inputs_bar, kernel_bar, *state_bar

        return outputs, pull

    return run(inputs, kernel, *state)


def _forward_loop(cell, layout, inputs, kernel, state):
    """Returns the stacked states before each step, the pre-activations, and h after each step."""
    steps = length(inputs)
    specs = [*state, inputs[0], state[0]]
    arrays = [tf.TensorArray(s.dtype, steps, element_shape=s.shape) for s in specs]
    rows, weights = time_slices(inputs), layout.turn(kernel)

    def body(time, state, arrays):
        activation = layout.turn(rows.read(time)) + layout.project(state[0], weights)
        following = cell(activation, state)
        entries = map(layout.turn, [*state, activation, following[0]])
        arrays = [a.write(time, e) for a, e in zip(arrays, entries, strict=True)]
        return tuple(following), arrays

    _, arrays = over_time(steps, body, (tuple(map(layout.turn, state)), arrays))
    stacks = [array.stack() for array in arrays]
    return stacks[:-2], stacks[-2], stacks[-1]


def _backward_loop(cell, layout, befores, activations, kernel, upstream, keeps_bars):
    """Returns gradients w.r.t. the inputs [T, B, G], the first state, and the states after steps.

    The last, [T, B, *] each, are computed only if `keeps_bars`.
    """
    steps = length(activations)
    specs = [activations, *(befores if keeps_bars else [])]
    arrays = [
        tf.TensorArray(s.dtype, steps, element_shape=s.shape[1:], clear_after_read=False)
        for s in specs
    ]
    known = [time_slices(tensor) for tensor in (upstream, activations, *befores)]

    def body(done, bars, arrays):
        time = steps - 1 - done
        here, activation, *state = [layout.turn(rows.read(time)) for rows in known]
        bars = (bars[0] + here, *bars[1:])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([activation, *state[1:]])
            following = cell(activation, state)
        pulled = tape.gradient(
            following,
            [activation, *state[1:]],
            output_gradients=bars,
            unconnected_gradients="zero",
        )
        hidden_bar = layout.project_back(pulled[0], kernel)
        entries = map(layout.turn, [pulled[0], *(bars if keeps_bars else [])])
        arrays = [a.write(time, e) for a, e in zip(arrays, entries, strict=True)]
        return (hidden_bar, *pulled[1:]), arrays

    zeros = tuple(tf.zeros_like(layout.turn(before[0])) for before in befores)
    state_bar, arrays = over_time(steps, body, (zeros, arrays))
    inputs_bar, *bars = [array.stack() for array in arrays]
    return inputs_bar, tuple(map(layout.turn, state_bar)), bars
