"""The residual encoder and the Gated PixelCNN in JAX."""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["model"]

_EPSILON = 1e-3  # Of batch normalisation.


def _convolve(x, kernel, stride=1, padding="VALID"):
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=dims)


def _linear(w, name, x):
    return _convolve(x, w[name + ".kernel"]) + w[name + ".bias"]


def _normalise(w, name, x, training):
    if training:
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        x = (x - mean) * lax.rsqrt(variance + _EPSILON)
    else:  # The moving statistics of a model that has not been trained.
        x = x * (1.0 + _EPSILON) ** -0.5
    return x * w[name + ".gamma"] + w[name + ".beta"]


def _block(w, name, x, training):
    def through(part, norm, x, stride):
        x = _convolve(x, w[f"{name}.{part}.kernel"], stride, "SAME")
        return _normalise(w, f"{name}.norms.{norm}", x, training)

    inner = jax.nn.relu(through("first", 0, x, 2))
    return jax.nn.relu(through("second", 1, inner, 1) + through("shortcut", 2, x, 2))


def _gate(x):
    signal, weight = jnp.split(x, 2, axis=-1)
    return jnp.tanh(signal) * jax.nn.sigmoid(weight)


def _from_above(w, name, x, reach, first=False):
    x = x[:, :-1] if first else x
    return _linear(w, name + ".vertical", jnp.pad(x, _pad((reach, 0), (reach, reach))))


def _from_left(w, name, x, reach, first=False):
    x = x[:, :, :-1] if first else x
    return _linear(w, name + ".horizontal", jnp.pad(x, _pad((0, 0), (reach, 0))))


def _pad(rows, columns):
    return ((0, 0), rows, columns, (0, 0))


class model:
    """The image model of a case; `training` says whose statistics normalise the encoder."""

    def __init__(self, case, training=True):
        self.case, self.training = case, training
        self.reach = [size // 2 for size in case.kernels]

    def encode(self, w, x):
        for index in range(len(self.case.blocks)):
            x = _block(w, f"blocks.{index}", x, self.training)
        flat = x.reshape(len(x), -1)
        return jnp.split(flat @ w["head.dense.kernel"] + w["head.dense.bias"], 2, axis=1)

    def prepare(self, w, x):
        """The first layer's share of x, and what each unit of z adds to it: both are linear."""
        link = w["stack.0.link.kernel"]
        above = _from_above(w, "stack.0", x, self.reach[0], first=True)
        left = _from_left(w, "stack.0", x, self.reach[0], first=True)
        rows = jnp.concatenate([w["to_maps"], w["map_bias"]])
        maps = rows.reshape(-1, *self.case.shape, rows.shape[1] // (x.shape[1] * x.shape[2]))
        shares = _convolve(maps, w["from_maps.kernel"], 1, "SAME")
        shares = jnp.stack(jnp.split(shares, 2, axis=-1), axis=1)
        shares = shares.at[:, 1].add(_convolve(shares[:, 0], link))
        first = jnp.stack([above, left + _convolve(above, link)], axis=1) + shares[-1]
        return first, shares[:-1].reshape(len(rows) - 1, -1)

    def nll(self, w, prepared, x, z):
        first, per_unit = prepared
        both = first + (z @ per_unit).reshape(first.shape)
        above = both[:, 0]
        left = _linear(w, "stack.0.out", _gate(both[:, 1]))
        for index, reach in enumerate(self.reach[1:], start=1):
            name = f"stack.{index}"
            above = _from_above(w, name, _gate(above), reach)
            inner = _from_left(w, name, left, reach)
            inner += _convolve(above, w[name + ".link.kernel"])
            left = left + _linear(w, name + ".out", _gate(inner))
        hidden = _linear(w, "hidden", jax.nn.relu(left))
        logits = _linear(w, "logit", jax.nn.relu(hidden))
        return jnp.sum(jax.nn.softplus(logits) - x * logits, axis=(1, 2, 3))
