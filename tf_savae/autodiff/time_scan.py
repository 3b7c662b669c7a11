"""A scan over time that works in reverse mode, forward mode and under XLA."""

from collections.abc import Callable

import tensorflow as tf

from tf_savae.autodiff import forward_mode
from tf_savae.core.typing import Nest

__all__ = ["scan"]


def scan(
    cell: Callable[[Nest, Nest], tuple[Nest, Nest]], initial: Nest, inputs: Nest
) -> tuple[Nest, Nest]:
    """Runs `state, output = cell(state, input_t)` over the first axis of `inputs`.

    Replaces `tf.scan` inside a decoder. It is differentiable to any order in reverse mode. Inside a
    forward-mode Hessian-vector product it runs as a dual scan: each step computes (state, tangent)
    with an accumulator around one call of the cell, because accumulators do not support while loops
    in graph mode. Only `initial` and `inputs` have tangents. Tensors that the cell captures, such
    as its weights, are constants of the directional derivative, as they are in refinement. In graph
    mode, a captured tensor that depends on the variational parameters raises an error.

    Args:
      cell: maps (nest of state tensors, nest of slices) to (next state, nest of outputs); float
        tensors only, and every tensor of the state keeps its shape.
      initial: nest of float tensors, the state before the first step.
      inputs: nest of float tensors [T, ...]; T must be static under XLA.

    Returns:
      The final state, and the outputs stacked to [T, ...].

    Raises:
      ValueError: in graph mode, the cell captures a tensor that has a tangent.

    >>> total, sums = scan(lambda s, x: (s + x, s + x), tf.zeros([]), tf.range(4.0))
    >>> sums.numpy().tolist()
    [0.0, 1.0, 3.0, 6.0]
    """
    tangents = forward_mode.tangents_of([*tf.nest.flatten(initial), *tf.nest.flatten(inputs)])
    if tf.executing_eagerly():  # Accumulators support eager loops.
        return _loop(cell, initial, inputs)
    if forward_mode.active():
        _refuse_moving_captures(cell, initial, inputs)
    if tangents is None:
        return _loop(cell, initial, inputs)
    count = len(tf.nest.flatten(initial))
    initial_dual = (initial, tf.nest.pack_sequence_as(initial, tangents[:count]))
    inputs_dual = (inputs, tf.nest.pack_sequence_as(inputs, tangents[count:]))
    with forward_mode.paused():
        (state, state_dot), (outputs, outputs_dot) = _loop(_dual(cell), initial_dual, inputs_dual)
    joined = forward_mode.attach(
        tf.nest.flatten((state, outputs)), tf.nest.flatten((state_dot, outputs_dot))
    )
    return tf.nest.pack_sequence_as((state, outputs), joined)


def _refuse_moving_captures(cell, initial, inputs):
    """Raises if the cell captures tensors with tangents, which the dual scan would ignore."""
    captured = _traced(cell, initial, inputs).captured_inputs
    captured = [tensor for tensor in captured if tensor.dtype.is_floating]
    if forward_mode.tangents_of(captured) is not None:
        raise ValueError(
            "scan: the cell captures a tensor that depends on the variational parameters (such as "
            "z), so part of the derivative would be lost. Pass it in `initial` (as constant state) "
            "or in `inputs`."
        )


def _dual(cell):
    """Returns the cell that computes the next state together with its tangent."""

    def dual_cell(states, slices):
        state, state_dot = states
        inputs, inputs_dot = slices
        # Identities: a primal may appear twice, but an accumulator requires distinct objects.
        primals = tf.nest.map_structure(tf.identity, (state, inputs))
        with forward_mode.accumulate(
            tf.nest.flatten(primals), tf.nest.flatten((state_dot, inputs_dot))
        ) as forward:
            next_state, output = cell(*primals)
        dots = forward.jvp((next_state, output), unconnected_gradients="zero")
        return (next_state, dots[0]), (output, dots[1])

    return dual_cell


def _loop(cell, initial, inputs):
    leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(inputs)]
    steps = leaves[0].shape[0]
    length = tf.shape(leaves[0])[0] if steps is None else steps
    initial = tf.nest.map_structure(tf.convert_to_tensor, initial)

    def slices(index):
        return tf.nest.pack_sequence_as(inputs, [tf.gather(leaf, index) for leaf in leaves])

    output_spec = _traced(cell, initial, inputs).structured_outputs[1]
    arrays = [
        tf.TensorArray(spec.dtype, length, element_shape=spec.shape)
        for spec in tf.nest.flatten(output_spec)
    ]

    def body(index, state, arrays):
        state, output = cell(state, slices(index))
        arrays = [
            array.write(index, value)
            for array, value in zip(arrays, tf.nest.flatten(output), strict=True)
        ]
        return index + 1, state, arrays

    _, state, arrays = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (tf.constant(0), initial, arrays),
        maximum_iterations=length,
    )
    stacked = [array.stack() for array in arrays]
    return state, tf.nest.pack_sequence_as(output_spec, stacked)


def _traced(cell, initial, inputs):
    """Returns one step as a concrete function, for its captures and output shapes."""
    initial, inputs = tf.nest.map_structure(tf.convert_to_tensor, (initial, inputs))
    specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, (initial, inputs))
    slices = tf.nest.map_structure(lambda s: tf.TensorSpec(s.shape[1:], s.dtype), specs[1])
    with forward_mode.paused():
        return tf.function(cell, autograph=False).get_concrete_function(specs[0], slices)
