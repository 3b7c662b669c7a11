"""PyTorch's SA-VAE on binary rows with dense networks, trained: the paper's algorithm and Adam."""

from types import SimpleNamespace

import numpy as np
import torch

from peers.torch_programs.algorithms import Algorithm

__all__ = ["DenseTrainer"]

_CLIP, _MOMENTUM = 5.0, 0.5


class _Model:
    """Encoder: one hidden relu layer to (mean, log-variance); decoder: one tanh layer to logits."""

    def encode(self, weights, x):
        hidden = torch.relu(x @ weights["0"] + weights["1"])
        return hidden @ weights["2"] + weights["3"], hidden @ weights["4"] + weights["5"]

    def prepare(self, weights, x):
        return []

    def nll(self, weights, prepared, x, z, twice=False):
        logits = torch.tanh(z @ weights["0"] + weights["1"]) @ weights["2"] + weights["3"]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, x, reduction="none"
        ).sum(1)


class _Annealed(Algorithm):
    """With a KL weight, `beta`."""

    beta = 1.0

    def _value(self, lam, names, leaves, x, noise, twice=False):
        mean, log_variance = lam
        kl = 0.5 * (torch.exp(log_variance) + mean**2 - 1.0 - log_variance).sum()
        return super()._value(lam, names, leaves, x, noise, twice) + (self.beta - 1.0) * kl


class DenseTrainer:
    """SA-VAE with K steps, exact products, and what `refinement_study` sets: Adam, annealing.

    Args:
      encoder, decoder: weights to begin with, lists as Keras gives them.
      steps, step_size: of the refinement.
      study: a `Study`: training rows, batch size, learning rate, steps of annealing.
    """

    def __init__(self, encoder, decoder, steps, step_size, study):
        torch.set_num_threads(1)
        self.parts = [
            {str(i): torch.tensor(w, requires_grad=True) for i, w in enumerate(part)}
            for part in (encoder, decoder)
        ]
        case = SimpleNamespace(step_size=step_size, momentum=_MOMENTUM, clip_norm=_CLIP)
        self.algorithm = _Annealed(_Model(), case, "exact")
        self.rows, self.steps, self.study, self.done = torch.tensor(study.train), steps, study, 0
        leaves = [w for part in self.parts for w in part.values()]
        self.adam = torch.optim.Adam(leaves, study.learning_rate, eps=1e-7)

    def epoch(self, draw):
        """One pass over the rows in the order that `draw`, a NumPy generator, gives."""
        size = self.study.batch_size
        order = torch.tensor(draw.permutation(len(self.rows)))
        latent = self.parts[0]["3"].shape[0]
        for rows in order.split(size)[: len(order) // size]:
            noise = torch.tensor(
                draw.normal(size=(self.steps + 1, size, latent)).astype(np.float32)
            )
            self.step(self.rows[rows], noise)

    def step(self, x, noise):
        """One update; `noise` is [K + 1, B, Z]. Returns the loss."""
        self.algorithm.beta = min(1.0, 0.1 + 0.9 * self.done / self.study.anneal_steps)
        loss, *gradients = self.algorithm.run(*self.parts, x, noise)
        for part, found in zip(self.parts, gradients, strict=True):
            for name, weight in part.items():
                weight.grad = found[name].detach().clone()
        leaves = [w for part in self.parts for w in part.values()]
        torch.nn.utils.clip_grad_norm_(leaves, 5.0)
        self.adam.step()
        self.done += 1
        return float(loss)

    def weights(self):
        """(encoder's, decoder's): lists of arrays."""
        return [[w.detach().numpy() for w in part.values()] for part in self.parts]
