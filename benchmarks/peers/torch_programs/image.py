"""The residual encoder and the Gated PixelCNN in PyTorch (channels first, kernels transposed)."""

import torch
from torch.nn import functional

__all__ = ["image"]

_EPSILON = 1e-3  # Of batch normalisation.


def _kernel(w, name):
    """[height, width, in, out] to PyTorch's [out, in, height, width]."""
    return w[name + ".kernel"].permute(3, 2, 0, 1)


def _linear(w, name, x):
    return functional.conv2d(x, _kernel(w, name), w[name + ".bias"])


def _same(x, kernel, stride):
    """A convolution with TensorFlow's "same" padding, more of it after than before."""
    sides = []
    for axis in (3, 2):
        size, taps = x.shape[axis], kernel.shape[axis]
        missing = max((-(-size // stride) - 1) * stride + taps - size, 0)
        sides += [missing // 2, missing - missing // 2]
    return functional.conv2d(functional.pad(x, sides), kernel, stride=stride)


def _gate(x):
    signal, weight = x.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(weight)


def _from_above(w, name, x, reach, first=False):
    x = x[:, :, :-1] if first else x
    return _linear(w, name + ".vertical", functional.pad(x, (reach, reach, reach, 0)))


def _from_left(w, name, x, reach, first=False):
    x = x[:, :, :, :-1] if first else x
    return _linear(w, name + ".horizontal", functional.pad(x, (reach, 0, 0, 0)))


class image:
    """The image model of a case; `training` says whose statistics normalise the encoder."""

    def __init__(self, case, training=True):
        self.case, self.training = case, training
        self.reach = [size // 2 for size in case.kernels]

    def encode(self, w, x):
        x = x.permute(0, 3, 1, 2)
        for index in range(len(self.case.blocks)):
            x = self._block(w, f"blocks.{index}", x)
        flat = x.permute(0, 2, 3, 1).flatten(1)
        outputs = torch.addmm(w["head.dense.bias"], flat, w["head.dense.kernel"])
        return outputs.chunk(2, dim=1)

    def _block(self, w, name, x):
        def through(part, norm, x, stride):
            x = _same(x, _kernel(w, f"{name}.{part}"), stride)
            return self._normalise(w, f"{name}.norms.{norm}", x)

        inner = torch.relu(through("first", 0, x, 2))
        return torch.relu(through("second", 1, inner, 1) + through("shortcut", 2, x, 2))

    def _normalise(self, w, name, x):
        gamma, beta = w[name + ".gamma"], w[name + ".beta"]
        zeros, ones = torch.zeros_like(gamma), torch.ones_like(gamma)
        statistics = (None, None) if self.training else (zeros, ones)
        return functional.batch_norm(
            x, *statistics, gamma, beta, training=self.training, eps=_EPSILON
        )

    def prepare(self, w, x):
        """The first layer's share of x, and what each unit of z adds to it: both are linear."""
        x = x.permute(0, 3, 1, 2)
        link = _kernel(w, "stack.0.link")
        above = _from_above(w, "stack.0", x, self.reach[0], first=True)
        left = _from_left(w, "stack.0", x, self.reach[0], first=True)
        rows = torch.cat([w["to_maps"], w["map_bias"]])
        maps = rows.view(len(rows), *self.case.shape, -1).permute(0, 3, 1, 2)
        shares_above, shares_left = _same(maps, _kernel(w, "from_maps"), 1).chunk(2, dim=1)
        shares_left = shares_left + functional.conv2d(shares_above, link)
        shares = torch.stack([shares_above, shares_left], dim=1)
        first = torch.stack([above, left + functional.conv2d(above, link)], dim=1)
        return first + shares[-1], shares[:-1].flatten(1)

    def nll(self, w, prepared, x, z, twice=False):
        first, per_unit = prepared
        both = first + (z @ per_unit).view(first.shape)
        above, left = both[:, 0], _linear(w, "stack.0.out", _gate(both[:, 1]))
        for index, reach in enumerate(self.reach[1:], start=1):
            name = f"stack.{index}"
            above = _from_above(w, name, _gate(above), reach)
            inner = _from_left(w, name, left, reach)
            inner = inner + functional.conv2d(above, _kernel(w, name + ".link"))
            left = left + _linear(w, name + ".out", _gate(inner))
        hidden = _linear(w, "hidden", torch.relu(left))
        logits = _linear(w, "logit", torch.relu(hidden))[:, 0]
        pixels = x[..., 0]
        nats = functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none")
        return nats.sum((1, 2))
