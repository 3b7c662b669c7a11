"""A pure train step as StableHLO, lowered without the device that it is meant for."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from programs.models import batch_of, model_of
from programs.sizes import case_of
from programs.train_step import PureStep
from tf_savae.core import devices

__all__ = ["Lowered", "lower"]


class Lowered(NamedTuple):
    """A train step as a program.

    Attributes:
      text: StableHLO, as MLIR text.
      serialized: the same as a portable artifact, which later versions of XLA read too.
      names: of the state's variables.
      state: list of arrays, the program's arguments but the last.
      x: array, the last argument.
      run: () -> (loss, state) of TensorFlow itself, arrays, by XLA on this machine.

    The results are the loss, then the state in the order of the arguments.
    """

    text: str
    serialized: bytes
    names: list
    state: list
    x: Any
    run: Any


def lower(name, steps, precision="tf32", method="exact_forward"):
    """The train step of a case with K `steps`.

    Args:
      name: of the case.
      steps: K.
      precision: "float32" asks for products of full precision, "tf32" leaves them to the device
        (TensorFloat-32 on a GPU, bfloat16 products of float32 on a TPU), "bfloat16" is Keras'
        policy mixed_bfloat16.
      method: a key of `peers.ours.METHODS`.

    Raises:
      RuntimeError: the program holds a variable, and is not pure.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else "float32"
    case = case_of(name)
    step = PureStep(model_of(case, steps, method, policy))
    state, x = step.state(), batch_of(case)

    def flat(*arguments):
        return step(list(arguments[:-1]), arguments[-1])

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")
    try:
        # With its specs: a signature of tensors would be lowered with their values.
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in (*state, x)]
        function = tf.function(flat, jit_compile=True, autograph=False)
        with devices.elsewhere():
            held = function.get_concrete_function(*specs).captured_inputs
        if held:
            raise RuntimeError(f"{name}: expected a pure program, but it holds {held}.")
        generate = function.experimental_get_compiler_ir(*specs)
        text = generate(stage="stablehlo", platform_name="CPU")
        serialized = generate(stage="stablehlo_serialized", platform_name="CPU")
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)

    def run():
        loss, new = function(*state, x)
        return loss.numpy(), [value.numpy() for value in new]

    arrays = [np.asarray(value) for value in state]
    return Lowered(text, serialized, step.names, arrays, np.asarray(x), run)
