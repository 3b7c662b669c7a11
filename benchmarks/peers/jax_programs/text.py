"""The oracle's and the text networks in JAX: the same functions as ours, as a JAX user would write.

A model is three functions: encode(encoder weights, x) -> (mean, log-variance) [B, Z] each;
prepare(decoder weights, x) -> what z does not touch, once for all steps; and
nll(decoder weights, prepared, x, z) -> [B], nats.
"""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["oracle", "text"]

_PAD = 0
_SHORT = 8  # Loops over so few words are written out.


def lstm(projected, kernel, hidden, cell):
    """Hidden states [T, B, H] from pre-activations [T, B, 4H]; gates: input, forget, new, out."""

    def step(state, row):
        hidden, cell = state
        gates = (row + hidden @ kernel).reshape(row.shape[0], 4, -1)
        enter, keep, leave = (jax.nn.sigmoid(gates[:, i]) for i in (0, 1, 3))
        cell = keep * cell + enter * jnp.tanh(gates[:, 2])
        hidden = leave * jnp.tanh(cell)
        return (hidden, cell), hidden

    unroll = len(projected) if len(projected) <= _SHORT else 1
    return lax.scan(step, (hidden, cell), projected, unroll=unroll)[1]


def _states(w, words):
    projected = w["embedding.embeddings"][words] @ w["lstm.kernel"] + w["lstm.bias"]
    zeros = jnp.zeros_like(projected[0, :, : projected.shape[2] // 4])
    return lstm(projected, w["lstm.recurrent_kernel"], zeros, zeros)


def _head(w, features):
    return jnp.split(features @ w["head.dense.kernel"] + w["head.dense.bias"], 2, axis=1)


def _token_nll(w, hidden, targets):
    """-log softmax at the targets, as sums over V that XLA fuses: no gather and no scatter."""
    logits = hidden @ w["softmax.kernel"] + w["softmax.bias"]
    at_target = lax.broadcasted_iota(jnp.int32, logits.shape, 2) == targets[:, :, None]
    chosen = jnp.sum(jnp.where(at_target, logits, 0.0), axis=2)
    return jax.nn.logsumexp(logits, axis=2) - chosen


class oracle:
    """The oracle: z enters an MLP after the LSTM, whose states are prepared."""

    @staticmethod
    def encode(w, x):
        return _head(w, _states(w, x.T)[-1])

    @staticmethod
    def prepare(w, x):
        start = jnp.full_like(x.T[:1], len(w["embedding.embeddings"]) - 1)
        states = _states(w, jnp.concatenate([start, x.T[:-1]]))
        return states @ w["from_hidden.kernel"] + w["from_hidden.bias"]

    @staticmethod
    def nll(w, prepared, x, z):
        hidden = jnp.tanh(prepared + z @ w["from_latent.kernel"])
        return jnp.sum(_token_nll(w, hidden, x.T), axis=0)


class text:
    """Text: z joins every input of the LSTM and makes its first hidden state."""

    @staticmethod
    def encode(w, x):
        last = jnp.sum(x != _PAD, axis=1) - 1
        return _head(w, _states(w, x.T)[last, jnp.arange(len(x))])

    @staticmethod
    def prepare(w, x):
        return w["embedding.embeddings"][x.T[:-1]] @ w["lstm.kernel"] + w["lstm.bias"]

    @staticmethod
    def nll(w, prepared, x, z):
        hidden = z @ w["to_hidden.kernel"] + w["to_hidden.bias"]
        projected = prepared + z @ w["to_gates.kernel"]
        states = lstm(projected, w["lstm.recurrent_kernel"], hidden, jnp.zeros_like(hidden))
        targets = x.T[1:]
        return jnp.sum(_token_nll(w, states, targets) * (targets != _PAD), axis=0)
