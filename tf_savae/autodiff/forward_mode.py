"""Makes loops and custom gradients work in forward-mode differentiation.

`tf.autodiff.ForwardAccumulator` supports neither a while loop inside a `tf.function` nor an
operation with a custom gradient. Such an operation calls `tangents_of(...)`. If the result is not
None, a directional derivative is being computed: the operation then computes its own tangent while
the accumulator is paused, and registers it with `attach`.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_savae.core import private_tensorflow

__all__ = [
    "LoopInForwardOverReverse",
    "accumulate",
    "active",
    "attach",
    "paused",
    "refuse_nested_functions",
    "refuse_third_derivatives",
    "tangents_of",
]


# Expensive operations that are linear in each of their float inputs.
_PRODUCTS = frozenset(
    f"{name}{suffix}"
    for name, suffixes in {
        "MatMul": [""],
        "BatchMatMul": ["", "V2", "V3"],
        "Einsum": [""],
        "Conv2D": ["", "BackpropInput", "BackpropFilter"],
        "Conv3D": ["", "BackpropInputV2", "BackpropFilterV2"],
        "DepthwiseConv2dNative": ["", "BackpropInput", "BackpropFilter"],
    }.items()
    for suffix in suffixes
)


class LoopInForwardOverReverse(Exception):
    """Raised if a loop with a custom derivative runs in an accumulator that surrounds a tape.

    Its reverse pass is not differentiable in forward mode. The caller must place the accumulator
    inside the tape instead, which gives the same product at the same cost.
    """


class _Mode(NamedTuple):
    accumulator: Any
    surrounds_tape: bool


class _Modes(threading.local):
    def __init__(self) -> None:
        self.stack: list[_Mode] = []


_modes = _Modes()


@contextlib.contextmanager
def accumulate(
    primals: Sequence[tf.Tensor], tangents: Sequence[tf.Tensor], *, surrounds_tape: bool = False
) -> Iterator[tf.autodiff.ForwardAccumulator]:
    """Context with a `tf.autodiff.ForwardAccumulator` that supports the loops of this package.

    Args:
      primals: a flat list of float tensors, each a distinct object.
      tangents: the direction, tensors of the same shapes and dtypes.
      surrounds_tape: True if a gradient will be taken *inside* the accumulator; operations that
        do not support this then raise `LoopInForwardOverReverse`.

    Yields:
      The accumulator; call its `jvp(tensor)` inside the same traced function.

    >>> x = tf.constant([2.0])
    >>> with accumulate([x], [tf.ones([1])]) as forward:
    ...     y = x * x
    >>> forward.jvp(y).numpy().tolist()
    [4.0]
    """
    forward = tf.autodiff.ForwardAccumulator(list(primals), list(tangents))
    _modes.stack.append(_Mode(forward, surrounds_tape))
    try:
        with forward:
            yield forward
    finally:
        _modes.stack.pop()


def _jvp(op_name, attributes, inputs, outputs, tangents, use_batch=False):
    """Returns the JVP of one operation, inlined into the current graph.

    TensorFlow wraps each operation's JVP in a separate function. Differentiated in reverse mode,
    these functions pass shapes as tensors. XLA then treats all their inputs, including the weights,
    as compile-time constants, and compiles again whenever a weight changes. If the JVP is inlined,
    static shapes remain static. This applies only to graphs built inside `accumulate`.
    """
    if not _modes.stack or tf.executing_eagerly() or use_batch:
        return private_tensorflow.jvp_as_function(
            op_name, attributes, inputs, outputs, tangents, use_batch
        )
    still = [tangent is None or _is_zero(tangent) for tangent in tangents]
    # Copies, which the accumulator does not watch; otherwise it would differentiate the JVP.
    inputs, outputs, tangents = (
        [None if t is None else tf.identity(t) for t in part]
        for part in (inputs, outputs, tangents)
    )
    if op_name in _PRODUCTS and any(still) and not all(still):
        moving = [index for index, is_zero in enumerate(still) if not is_zero]
        return _product_jvp(op_name, attributes, inputs, outputs, tangents, moving)
    return private_tensorflow.jvp_in_line(op_name, attributes, inputs, outputs, tangents)


def _product_jvp(op_name, attributes, inputs, outputs, tangents, moving):
    """Returns the JVP of a product in the factors with tangents, as the transpose of its VJP.

    TensorFlow's JVP uses all factors, including the zero tangents of the weights: a Hessian-vector
    product then costs 8F instead of 6F.
    """
    factors = [inputs[index] for index in moving]
    with private_tensorflow.outside_forward_mode(), tf.GradientTape() as transpose:
        with tf.GradientTape() as tape:
            tape.watch(factors)
            private_tensorflow.record_gradient(op_name, inputs, attributes, outputs)
        upstream = tf.ones_like(outputs[0])
        transpose.watch(upstream)
        pulled = tape.gradient(outputs[0], factors, upstream)
    directions = [tangents[index] for index in moving]
    return [transpose.gradient(pulled, upstream, output_gradients=directions)]


def _is_zero(tangent):
    """Whether a tangent is a zero that TensorFlow inserted for an input without a tangent."""
    kind = tangent.op.type
    if kind in ("Const", "Fill"):  # Large zero constants are created by `tf.fill`.
        return not np.any(tf.get_static_value(tangent.op.inputs[1] if kind == "Fill" else tangent))
    return kind == "ZerosLike"


# Registered for the whole process; outside of `accumulate`, `_jvp` calls the default JVP.
private_tensorflow.register_jvp(_jvp)


def active() -> bool:
    """Whether a directional derivative is being computed."""
    return bool(_modes.stack)


def tangents_of(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor] | None:
    """Returns the tangents of `tensors`, zeros for missing ones, or None if all are missing.

    Outside forward mode the result is None.

    Raises:
      LoopInForwardOverReverse: the accumulator surrounds a tape. This is raised even if no tensor
        has a tangent, since the gradient in the backward pass has one.
    """
    if not _modes.stack:
        return None
    mode = _modes.stack[-1]
    if mode.surrounds_tape:
        raise LoopInForwardOverReverse
    tangents = [mode.accumulator.jvp(tensor) for tensor in tensors]
    if all(tangent is None for tangent in tangents):
        return None
    return [
        tf.zeros_like(tensor) if tangent is None else tf.convert_to_tensor(tangent)
        for tensor, tangent in zip(tensors, tangents, strict=True)
    ]


def refuse_third_derivatives(name: str) -> None:
    """Raises if an operation's gradient is taken inside an accumulator, which is not supported.

    Raises:
      ValueError: a directional derivative of the gradient is being computed.
    """
    if _modes.stack:
        raise ValueError(
            f'{name}: expected hvp="reverse_over_reverse" for a decoder that takes its gradient, '
            "since a forward-mode Hessian-vector product would need its third derivative, which is "
            "not implemented."
        )


def refuse_nested_functions(
    accumulator: tf.autodiff.ForwardAccumulator, operations: Iterable[tf.Operation]
) -> None:
    """Raises if a tf.function with tangents was called, since derivatives would be lost.

    A tape around `tf.autodiff.ForwardAccumulator` does not record the tangents of a `tf.function`
    that is called inside another one, and TensorFlow raises no error.

    Args:
      accumulator: the accumulator that `accumulate` yielded.
      operations: the operations of the graph that were created inside it.

    Raises:
      ValueError: one of the operations is such a call.
    """
    for operation in operations:
        if operation.type not in ("PartitionedCall", "StatefulPartitionedCall"):
            continue
        for output in operation.outputs:
            if output.dtype.is_floating and accumulator.jvp(output) is not None:
                raise ValueError(
                    'hvp="forward_over_reverse": the decoder calls a tf.function '
                    f"({operation.name}), which forward mode cannot differentiate. Call plain "
                    "Python functions in the decoder (function.python_function), or use "
                    'hvp="reverse_over_reverse".'
                )


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Context in which the innermost accumulator is suspended."""
    if not _modes.stack:
        yield
        return
    mode = _modes.stack.pop()
    mode.accumulator.__exit__(None, None, None)
    try:
        yield
    finally:
        mode.accumulator.__enter__()
        _modes.stack.append(mode)


def attach(primals: Sequence[tf.Tensor], tangents: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns `primals` with the given tangents in the innermost accumulator; values are unchanged.

    Uses the private method that `ForwardAccumulator` calls for the primals of its constructor. The
    public alternative is to add a scalar zero with tangent 1, times the tangent. The gradient of
    that broadcast makes XLA treat float tensors as compile-time constants, so that it compiles
    again for every new value of the weights.
    """
    accumulator = _modes.stack[-1].accumulator
    with paused():
        joined = [tf.identity(primal) for primal in primals]
    private_tensorflow.watch(accumulator, joined, list(tangents))
    return joined
