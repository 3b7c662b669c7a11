"""The JAX contender: jitted functions of arrays that live on the device."""

import functools

import jax

from peers import weights
from peers.jax_programs import algorithms, image, text

__all__ = ["JaxPeer"]

_MODELS = {"oracle": text.oracle, "text": text.text}


def _models(case):
    """The model in training and at inference, where an image encoder normalises otherwise."""
    if case.model == "image":
        return image.model(case, training=True), image.model(case, training=False)
    return _MODELS[case.model], _MODELS[case.model]


class JaxPeer:
    """`step()`, `gradients()` and `infer()` in JAX; arguments as of `peers.ours.Ours`."""

    mode = "XLA"

    def __init__(self, case, steps, method, data, dtype="float32"):
        del steps  # The noise says it.
        jax.config.update("jax_enable_x64", dtype == "float64")
        model, at_inference = _models(case)
        arrays = {name: jax.device_put(value) for name, value in data.items()}
        x, noise = arrays.pop("x"), arrays.pop("noise")
        parts = (weights.of_part(arrays, part) for part in ("encoder", "decoder"))
        self._arguments = (*parts, x, noise)
        self._run = jax.jit(algorithms.loss_and_gradients(model, case, method))
        self._infer = jax.jit(functools.partial(algorithms.infer, at_inference, case))

    def step(self):
        jax.block_until_ready(self._run(*self._arguments))

    def gradients(self):
        loss, (encoder, decoder) = self._run(*self._arguments)
        named = {f"encoder.{n}": g for n, g in encoder.items()}
        named |= {f"decoder.{n}": g for n, g in decoder.items()}
        return float(loss), {name: jax.device_get(g) for name, g in named.items()}

    def infer(self):
        return jax.device_get(self._infer(*self._arguments))
