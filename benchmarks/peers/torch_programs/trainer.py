"""PyTorch's SA-VAE, trained: the paper's algorithm with exact products, and Adam."""

from types import SimpleNamespace

import numpy as np
import torch

from peers.torch_programs.algorithms import Algorithm

__all__ = ["Trainer", "dense"]

_CLIP, _MOMENTUM = 5.0, 0.5


class dense:
    """Binary rows. Encoder: a relu layer to (mean, log-variance); decoder: a tanh layer to logits.

    Weights are named by their positions in Keras' list.
    """

    def encode(self, w, x):
        hidden = torch.relu(x @ w["0"] + w["1"])
        return hidden @ w["2"] + w["3"], hidden @ w["4"] + w["5"]

    def prepare(self, w, x):
        return []

    def nll(self, w, prepared, x, z, twice=False):
        logits = torch.tanh(z @ w["0"] + w["1"]) @ w["2"] + w["3"]
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


class Trainer:
    """SA-VAE with K steps, exact products, and what `refinement_study` sets: Adam, annealing.

    Args:
      model: encode, prepare and nll: `dense`, or `text.oracle`.
      encoder, decoder: weights to begin with, {name: array}.
      steps, step_size: of the refinement.
      study: a `Study`: training rows, latent size, batch size, learning rate, steps of annealing.
    """

    def __init__(self, model, encoder, decoder, steps, step_size, study):
        torch.set_num_threads(1)
        self.parts = [
            {name: torch.tensor(w, requires_grad=True) for name, w in part.items()}
            for part in (encoder, decoder)
        ]
        case = SimpleNamespace(step_size=step_size, momentum=_MOMENTUM, clip_norm=_CLIP)
        self.algorithm = _Annealed(model, case, "exact")
        rows = torch.tensor(study.train)
        self.rows = rows if rows.is_floating_point() else rows.long()
        self.steps, self.study, self.done = steps, study, 0
        leaves = [w for part in self.parts for w in part.values()]
        self.adam = torch.optim.Adam(leaves, study.learning_rate, eps=1e-7)

    def epoch(self, draw):
        """One epoch in the order that `draw`, a NumPy generator, gives."""
        size, count = self.study.batch_size, self.study.epoch_steps
        order = torch.tensor(draw.permutation(len(self.rows)))
        for rows in order.split(size)[: count or len(order) // size]:
            noise = draw.normal(size=(self.steps + 1, size, self.study.latent_size))
            self.step(self.rows[rows], torch.tensor(noise.astype(np.float32)))

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
        """(encoder's, decoder's): {name: array}."""
        return [{name: w.detach().numpy() for name, w in part.items()} for part in self.parts]
