"""The oracle's and the text networks in PyTorch; models are as in `peers.jax_programs.text`."""

import torch
from torch.nn import functional

from peers.torch_programs.lstm import fast_lstm, plain_lstm

__all__ = ["oracle", "text"]

_PAD = 0


def _project(w, words):
    inputs = functional.embedding(words, w["embedding.embeddings"])
    return inputs @ w["lstm.kernel"] + w["lstm.bias"]


def _states(w, words):
    projected = _project(w, words)
    zeros = projected.new_zeros(projected.shape[1], projected.shape[2] // 4)
    return fast_lstm(projected, w["lstm.recurrent_kernel"], zeros, zeros)


def _head(w, features):
    outputs = torch.addmm(w["head.dense.bias"], features, w["head.dense.kernel"])
    return outputs.chunk(2, dim=1)


def _token_nll(w, hidden, targets):
    """[T, B]: log-softmax and loss as one function of the logits."""
    logits = torch.addmm(w["softmax.bias"], hidden.flatten(0, 1), w["softmax.kernel"])
    nll = functional.cross_entropy(logits, targets.flatten(), reduction="none")
    return nll.view(targets.shape)


class oracle:
    """The oracle: z enters an MLP after the LSTM, whose states are prepared."""

    def __init__(self, case):
        del case

    def encode(self, w, x):
        return _head(w, _states(w, x.T)[-1])

    def prepare(self, w, x):
        start = torch.full_like(x.T[:1], len(w["embedding.embeddings"]) - 1)
        states = _states(w, torch.cat([start, x.T[:-1]]))
        return (states @ w["from_hidden.kernel"] + w["from_hidden.bias"],)

    def nll(self, w, prepared, x, z, twice=False):
        hidden = torch.tanh(prepared[0] + z @ w["from_latent.kernel"])
        return _token_nll(w, hidden, x.T).sum(0)


class text:
    """Text: z joins every input of the LSTM and makes its first hidden state."""

    def __init__(self, case):
        del case

    def encode(self, w, x):
        last = (x != _PAD).sum(1) - 1
        rows = torch.arange(len(x), device=x.device)
        return _head(w, _states(w, x.T)[last, rows])

    def prepare(self, w, x):
        return (_project(w, x.T[:-1]),)

    def nll(self, w, prepared, x, z, twice=False):
        hidden = torch.addmm(w["to_hidden.bias"], z, w["to_hidden.kernel"])
        projected = prepared[0] + z @ w["to_gates.kernel"]
        lstm = plain_lstm if twice else fast_lstm
        states = lstm(projected, w["lstm.recurrent_kernel"], hidden, torch.zeros_like(hidden))
        targets = x.T[1:]
        return (_token_nll(w, states, targets) * (targets != _PAD)).sum(0)
