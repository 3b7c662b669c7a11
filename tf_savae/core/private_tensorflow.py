"""Every private TensorFlow API that is used, in one place. Checked with 2.21.0.

tests/core/test_private_names.py looks for each name in the installed version, and sees to it that
no other module uses one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python import pywrap_tfe
from tensorflow.python.client import device_lib
from tensorflow.python.eager import execute, forwardprop, forwardprop_util
from tensorflow.python.ops import control_flow_util

__all__ = [
    "dataset_functions",
    "dataset_inputs",
    "free_gpu_bytes",
    "in_xla_context",
    "jvp_as_function",
    "jvp_in_line",
    "outside_forward_mode",
    "record_gradient",
    "register_jvp",
    "watch",
    "xla_dynamic_update_slice",
]


def register_jvp(function: Callable[..., Any]) -> None:
    """Registers the JVP that every ForwardAccumulator of the process calls (2.21.0)."""
    pywrap_tfe.TFE_Py_RegisterJVPFunction(function)


def jvp_as_function(*args: Any) -> list[tf.Tensor]:
    """TensorFlow's default JVP of an operation, traced as a function of its own (2.21.0)."""
    return forwardprop._jvp_dispatch(*args)


def jvp_in_line(*args: Any) -> list[tf.Tensor]:
    """The same, inlined into the current graph: XLA then keeps its shapes static (2.21.0)."""
    return forwardprop._jvp_helper(*args)


def outside_forward_mode() -> AbstractContextManager[None]:
    """A context hidden from all accumulators, for computing a tangent by hand (2.21.0)."""
    return forwardprop_util.push_forwardprop_state()


def record_gradient(
    op_name: str, inputs: Sequence[tf.Tensor], attributes: Any, outputs: Sequence[tf.Tensor]
) -> None:
    """Records an operation that has already run on the tapes, to take its VJP (2.21.0)."""
    execute.record_gradient(op_name, inputs, attributes, outputs)


def watch(
    accumulator: tf.autodiff.ForwardAccumulator,
    primals: Sequence[tf.Tensor],
    tangents: Sequence[tf.Tensor],
) -> None:
    """Gives an accumulator further primals, which its constructor alone may in public (2.21.0)."""
    accumulator._watch(primals, tangents)


def in_xla_context(graph: tf.Graph) -> bool:
    """Whether a graph, or one around it, is compiled by XLA; nothing public says it (2.21.0)."""
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def xla_dynamic_update_slice(*args: tf.Tensor) -> tf.Tensor:
    """The operation, for the gradient it lacks; tf.tensor_scatter_nd_update is slow (2.21.0)."""
    return gen_xla_ops.xla_dynamic_update_slice(*args)


def dataset_functions(dataset: tf.data.Dataset) -> list[Any]:
    """The user's functions in one stage of a tf.data pipeline; nothing public has them (2.21.0)."""
    return dataset._functions()


def dataset_inputs(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """The stages before it; nothing public has them (2.21.0)."""
    return dataset._inputs()


def free_gpu_bytes() -> int | None:
    """What the allocator of each GPU may still take, the least; nothing public has it (2.21.0)."""
    visible = tf.config.list_logical_devices("GPU")
    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    if len(limits) != len(visible):
        return None  # Some are hidden from this process, and which ones nothing says.
    used = [
        tf.config.experimental.get_memory_info(f"GPU:{index}")["current"]
        for index in range(len(limits))
    ]
    return min((limit - u for limit, u in zip(limits, used, strict=True)), default=None)
