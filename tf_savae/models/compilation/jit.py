"""Resolve `jit_compile`: whether a model is compiled with XLA."""

from collections.abc import Iterable
from typing import Any

import keras
from absl import logging

from tf_savae.core import private_keras
from tf_savae.core.devices import accelerators, gpus

__all__ = ["check_second_derivatives", "resolve_jit_compile", "xla_for_decoding"]

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_CUDNN_LAYERS = (keras.layers.LSTM, keras.layers.GRU)


def resolve_jit_compile(jit_compile: str | bool, layers: Iterable[keras.layers.Layer]) -> bool:
    """Resolves True, False or "auto" to a bool for a model with `layers`; logs the choice once.

    "auto" uses XLA on GPU and TPU. On the CPU it uses XLA unless a layer is a convolution: its
    gradient inside a loop is 25 to 35 times slower with XLA:CPU than with a plain `tf.function`.

    Raises:
      ValueError: the value is invalid, or XLA was requested and a layer cannot be compiled.
    """
    if jit_compile not in (True, False, "auto"):
        raise ValueError(f'jit_compile: expected True, False or "auto", got {jit_compile!r}.')
    inner = [layer for top in layers for layer in private_keras.flatten_layers(top)]
    blocking = sorted({type(layer).__name__ for layer in inner if not layer.supports_jit})
    if jit_compile is True and blocking:
        raise ValueError(
            f"jit_compile: expected False, since XLA cannot compile {', '.join(blocking)}; got "
            "True. On a GPU, keras.layers.LSTM and GRU need use_cudnn=False."
        )
    if jit_compile != "auto":
        return bool(jit_compile)
    chosen, reason = _choose(inner, blocking)
    logging.info("jit_compile='auto' chose %s: %s", "XLA" if chosen else "no XLA", reason)
    return chosen


def _choose(inner, blocking):
    if blocking:
        return False, f"{', '.join(blocking)} cannot be compiled"
    if accelerators():
        return True, "an accelerator is present"
    if any(isinstance(layer, _CONVOLUTIONS) for layer in inner):
        return False, "convolution gradients in a loop are slow under XLA on a CPU"
    return True, "no convolutions, on a CPU"


def xla_for_decoding(asked: str | bool | None, options: dict[str, Any]) -> bool:
    """Returns whether decoding may use XLA in a model that is compiled with it.

    "auto" runs greedy decoding on a CPU without XLA: with 256 units, a plain graph takes 0.8 of the
    time, and a third of the time of the first call. Sampling and beam search are 1.1 to 2 times
    faster with XLA.

    Args:
      asked: the `jit_compile` that `compile` was called with.
      options: arguments of the decoder's `sample`, a dict.

    >>> xla_for_decoding("auto", {"decoding": "beam"}), xla_for_decoding(True, {})
    (True, True)
    """
    return asked != "auto" or options.get("decoding") != "greedy" or bool(accelerators())


def check_second_derivatives(decoder: keras.layers.Layer) -> None:
    """Raises ValueError if recurrent layers of a decoder may use the cuDNN kernel.

    Raises:
      ValueError: a GPU is present and an LSTM or GRU of the decoder may use cuDNN, whose backward
        pass has no derivative.
    """
    if not gpus():
        return
    for layer in private_keras.flatten_layers(decoder):
        if isinstance(layer, _CUDNN_LAYERS) and getattr(layer, "use_cudnn", False) is not False:
            raise ValueError(
                f"decoder: {type(layer).__name__} {layer.name!r} may use the cuDNN kernel, which "
                "has no second derivative, so refinement cannot be differentiated; "
                "expected use_cudnn=False, or tf_savae.networks.LSTM."
            )
