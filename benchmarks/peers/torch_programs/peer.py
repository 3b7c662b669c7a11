"""The PyTorch contender: eager autograd on the CPU."""

import torch

from peers import weights
from peers.torch_programs import image, text
from peers.torch_programs.algorithms import Algorithm

__all__ = ["TorchPeer"]

_MODELS = {"oracle": text.oracle, "text": text.text, "image": image.image}


class TorchPeer:
    """`step()`, `gradients()` and `infer()` in PyTorch; arguments as of `peers.ours.Ours`."""

    mode = "eager"

    def __init__(self, case, steps, method, data, dtype="float32"):
        del steps, dtype  # The arrays say both.
        model = _MODELS[case.model]
        at_inference = image.image(case, training=False) if case.model == "image" else None
        tensors = {name: _tensor(value) for name, value in data.items()}
        x, noise = tensors.pop("x"), tensors.pop("noise")
        for tensor in tensors.values():
            tensor.requires_grad_()
        parts = [weights.of_part(tensors, part) for part in ("encoder", "decoder")]
        self._arguments = (*parts, x, noise)
        self._algorithm = Algorithm(model(case), case, method)
        self._inference = Algorithm(at_inference or model(case), case, "exact")

    def step(self):
        self._algorithm.run(*self._arguments)

    def gradients(self):
        loss, encoder, decoder = self._algorithm.run(*self._arguments)
        named = {f"encoder.{n}": g for n, g in encoder.items()}
        named |= {f"decoder.{n}": g for n, g in decoder.items()}
        return float(loss), {name: gradient.numpy() for name, gradient in named.items()}

    def infer(self):
        return [p.numpy() for p in self._inference.infer(*self._arguments)]


def _tensor(value):
    tensor = torch.from_numpy(value.copy())
    return tensor.long() if tensor.dtype == torch.int32 else tensor
