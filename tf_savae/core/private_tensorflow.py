"""All private TensorFlow APIs that the package uses. Checked with 2.21.0.

tests/core/test_private_names.py checks that each name exists in the installed version and that no
other module uses private APIs.
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
    """Registers the JVP function of all ForwardAccumulators in the process (2.21.0)."""
    pywrap_tfe.TFE_Py_RegisterJVPFunction(function)


def jvp_as_function(*args: Any) -> list[tf.Tensor]:
    """Returns TensorFlow's default JVP of an operation, as a separate function (2.21.0)."""
    return forwardprop._jvp_dispatch(*args)


def jvp_in_line(*args: Any) -> list[tf.Tensor]:
    """Returns the same JVP in the current graph, which keeps shapes static in XLA (2.21.0)."""
    return forwardprop._jvp_helper(*args)


def outside_forward_mode() -> AbstractContextManager[None]:
    """Context in which no accumulator is active, to compute a tangent explicitly (2.21.0)."""
    return forwardprop_util.push_forwardprop_state()


def record_gradient(
    op_name: str, inputs: Sequence[tf.Tensor], attributes: Any, outputs: Sequence[tf.Tensor]
) -> None:
    """Records an operation that has already run on the active tapes (2.21.0)."""
    execute.record_gradient(op_name, inputs, attributes, outputs)


def watch(
    accumulator: tf.autodiff.ForwardAccumulator,
    primals: Sequence[tf.Tensor],
    tangents: Sequence[tf.Tensor],
) -> None:
    """Adds primals to an accumulator; public only in its constructor (2.21.0)."""
    accumulator._watch(primals, tangents)


def in_xla_context(graph: tf.Graph) -> bool:
    """Whether a graph or an enclosing graph is compiled by XLA; not public (2.21.0)."""
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def xla_dynamic_update_slice(*args: tf.Tensor) -> tf.Tensor:
    """XlaDynamicUpdateSlice; the public tf.tensor_scatter_nd_update is slow (2.21.0)."""
    return gen_xla_ops.xla_dynamic_update_slice(*args)


def dataset_functions(dataset: tf.data.Dataset) -> list[Any]:
    """Returns the user's functions in one stage of a tf.data pipeline; not public (2.21.0)."""
    return dataset._functions()


def dataset_inputs(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """Returns the input stages of a stage of a tf.data pipeline; not public (2.21.0)."""
    return dataset._inputs()


def free_gpu_bytes() -> int | None:
    """Returns the smallest number of bytes that a GPU can still allocate; not public (2.21.0).

    None if there is no GPU, or if some GPUs are hidden from this process.
    """
    visible = tf.config.list_logical_devices("GPU")
    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    if len(limits) != len(visible):
        return None  # Some GPUs are hidden, and it is unknown which.
    used = [
        tf.config.experimental.get_memory_info(f"GPU:{index}")["current"]
        for index in range(len(limits))
    ]
    return min((limit - u for limit, u in zip(limits, used, strict=True)), default=None)
