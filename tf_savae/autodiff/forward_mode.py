"""Make loops and custom gradients work in forward-mode differentiation.

`tf.autodiff.ForwardAccumulator` cannot see through a while loop inside a `tf.function`, and it
cannot know the derivative of an operation with a hand-written gradient. Such an operation asks
`tangents_of(...)` whether a directional derivative is being taken and, if so, computes its own
tangent with the accumulator paused and hands it back with `attach`.
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
    """Raised where a loop with its own derivative runs inside an accumulator around a tape.

    Its reverse pass is not differentiable in forward mode; the caller must put the accumulator
    inside the tape instead (the same product at the same cost).
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
    """A `tf.autodiff.ForwardAccumulator` that loops written for it can pass through.

    Args:
      primals: a flat list of float tensors, each a distinct object.
      tangents: the direction, tensors of the same shapes and dtypes.
      surrounds_tape: True where a gradient will be taken *inside* the accumulator; operations
        that cannot take part then raise `LoopInForwardOverReverse`.

    Yields:
      The accumulator; ask it `jvp(tensor)` inside the same traced function.

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
    """The JVP of one operation, inlined into the current graph.

    TensorFlow wraps each operation's JVP in a function of its own. Differentiated in reverse mode,
    such functions pass shapes between them, and XLA then takes all their inputs, the weights
    among them, for compile-time constants: it compiles anew whenever a weight changes. In line,
    static shapes stay static. Only graphs built inside `accumulate` are concerned.
    """
    if not _modes.stack or tf.executing_eagerly() or use_batch:
        return private_tensorflow.jvp_as_function(
            op_name, attributes, inputs, outputs, tangents, use_batch
        )
    still = [tangent is None or _is_zero(tangent) for tangent in tangents]
    # Copies, which the accumulator does not watch, or it would differentiate the JVP itself.
    inputs, outputs, tangents = (
        [None if t is None else tf.identity(t) for t in part]
        for part in (inputs, outputs, tangents)
    )
    if op_name in _PRODUCTS and any(still) and not all(still):
        moving = [index for index, rests in enumerate(still) if not rests]
        return _product_jvp(op_name, attributes, inputs, outputs, tangents, moving)
    return private_tensorflow.jvp_in_line(op_name, attributes, inputs, outputs, tangents)


def _product_jvp(op_name, attributes, inputs, outputs, tangents, moving):
    """The JVP of a product in the factors with tangents, as the transpose of its VJP.

    TensorFlow's own takes all factors, and multiplies by the zero tangents of the weights: 8F where
    a Hessian-vector product needs 6F.
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
    """Whether a tangent is a zero that TensorFlow filled in for an input without one."""
    kind = tangent.op.type
    if kind in ("Const", "Fill"):  # Large zero constants are `tf.fill`s of a scalar.
        return not np.any(tf.get_static_value(tangent.op.inputs[1] if kind == "Fill" else tangent))
    return kind == "ZerosLike"


# Registered process-wide: outside of `accumulate`, `_jvp` defers to TensorFlow's own.
private_tensorflow.register_jvp(_jvp)


def active() -> bool:
    """Whether a directional derivative is being taken."""
    return bool(_modes.stack)


def tangents_of(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor] | None:
    """The tangents of `tensors` (zeros where there is none), or None outside forward mode.

    Raises:
      LoopInForwardOverReverse: the accumulator surrounds a tape. Also where no tensor has a
        tangent: the gradient that will come back through the loop has one.
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
    """Raises where an operation's gradient is taken inside an accumulator, which would be wrong.

    Raises:
      ValueError: the directional derivative of that gradient is being taken.
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
    """Raises for calls of tf.functions that tangents passed through: derivatives would be lost.

    A tape around `tf.autodiff.ForwardAccumulator` sees nothing of the tangents of a `tf.function`
    that is called inside another one; TensorFlow says nothing of it.

    Args:
      accumulator: what `accumulate` yielded.
      operations: those of the graph that were made inside it.

    Raises:
      ValueError: there is such a call.
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
    """Suspends the innermost accumulator, so that a loop can be built without it."""
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
    """Gives each of `primals` its tangent in the innermost accumulator; values do not change.

    `watch` is what `ForwardAccumulator` calls for the primals it is constructed with; there is no
    public way to name one more. (Adding a scalar zero with tangent 1, times the tangent, is one,
    but its broadcast gradient makes XLA treat float tensors as compile-time constants: one
    compilation for every new value of the weights.)
    """
    accumulator = _modes.stack[-1].accumulator
    with paused():
        joined = [tf.identity(primal) for primal in primals]
    private_tensorflow.watch(accumulator, joined, list(tangents))
    return joined
