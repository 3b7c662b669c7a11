"""SA-VAE's gradient in PyTorch: algorithm 1 with exact or finite-difference products, or unrolled.

As in algorithm 1, lambda is the pair (mean, log-variance), theta the decoder's
weights and what it prepared from x. Weights are leaves; their gradients are made only where asked.
"""

import torch

__all__ = ["METHODS", "Algorithm"]

# How H v is computed: (method, eps). Forward differences keep the weights' gradients of all steps.
METHODS = {
    "vae": ("exact", 0.0),
    "infer": ("exact", 0.0),
    "exact": ("exact", 0.0),
    "unrolled": ("unrolled", 0.0),
    "fd": ("forward", 1e-5),
    "fd_wide": ("forward", 1e-2),
    "fd_central": ("central", 1e-2),
}


def clip(gradient, limit):
    """Each example's gradient scaled down to norm `limit`."""
    square = sum((g * g).sum(1, keepdim=True) for g in gradient)
    scale = torch.where(square > limit**2, limit * square.clamp_min(limit**2).rsqrt(), 1.0)
    return [scale * g for g in gradient]


def _clip_pull(gradient, limit, vector):
    """The Jacobian of `clip`, which is symmetric, times `vector`."""
    gradient = [g.detach().requires_grad_() for g in gradient]
    return torch.autograd.grad(clip(gradient, limit), gradient, vector)


class Algorithm:
    """One model and one way to differentiate its refinement.

    Args:
      model: encode, prepare and nll; case: a `Case`; method: a key of `METHODS`.
    """

    def __init__(self, model, case, method):
        self.model, self.case = model, case
        self.way, self.eps = METHODS[method]

    def run(self, encoder, decoder, x, noise):
        """(loss, encoder's gradients, decoder's gradients): dicts of tensors under their names."""
        start = list(self.model.encode(encoder, x))
        prepared = list(self.model.prepare(decoder, x))
        if self.way == "unrolled":
            return self._unrolled(encoder, decoder, start, prepared, x, noise)
        theta = self._theta(decoder, prepared)
        lam, path = self._forth([p.detach() for p in start], theta, x, noise)
        loss, lam_bar, theta_bar = self._last(lam, theta, x, noise[-1])
        lam_bar = self._back(path, lam_bar, theta_bar, theta, x)
        return self._weights(loss, encoder, decoder, [start, prepared], lam_bar, theta_bar)

    def _theta(self, decoder, prepared):
        """Decoder weights and prepared tensors as leaves of their own."""
        names = list(decoder)
        leaves = [decoder[n].detach().requires_grad_() for n in names]
        return names, leaves + [p.detach().requires_grad_() for p in prepared]

    def _value(self, lam, names, leaves, x, noise, twice=False):
        """The negative ELBO summed over the batch."""
        mean, log_variance = lam
        z = mean + torch.exp(0.5 * log_variance) * noise
        kl = 0.5 * (torch.exp(log_variance) + mean**2 - 1.0 - log_variance).sum()
        weights = dict(zip(names, leaves, strict=False))
        return self.model.nll(weights, leaves[len(names) :], x, z, twice).sum() + kl

    def _gradient(self, lam, theta, x, noise, weights=False):
        """(value, gradient in lambda, gradients in theta or None)."""
        names, leaves = theta
        lam = [p.detach().requires_grad_() for p in lam]
        if not weights:
            constants = [leaf.detach() for leaf in leaves]
            value = self._value(lam, names, constants, x, noise)
            return value, torch.autograd.grad(value, lam), None
        value = self._value(lam, names, leaves, x, noise)
        both = torch.autograd.grad(value, [*lam, *leaves], allow_unused=True)
        return value, both[:2], both[2:]

    def _forth(self, lam, theta, x, noise):
        """K steps; what algorithm 1 keeps of each: lambda_k, gradients, noise."""
        velocity, path = [torch.zeros_like(p) for p in lam], []
        for row in noise[:-1]:
            keep = self.way == "forward"
            _, gradient, weights = self._gradient(lam, theta, x, row, keep)
            path.append((lam, gradient, weights, row))
            lam, velocity = self._move(lam, velocity, gradient)
        return lam, path

    def _move(self, lam, velocity, gradient):
        clipped = clip(gradient, self.case.clip_norm)
        velocity = [self.case.momentum * u - g for u, g in zip(velocity, clipped, strict=True)]
        return [p + self.case.step_size * u for p, u in zip(lam, velocity, strict=True)], velocity

    def _last(self, lam, theta, x, noise):
        value, lam_bar, theta_bar = self._gradient(lam, theta, x, noise, weights=True)
        count = len(x)
        return (
            value.detach() / count,
            [b / count for b in lam_bar],
            [None if b is None else b / count for b in theta_bar],
        )

    def _back(self, path, lam_bar, theta_bar, theta, x):
        """Algorithm 1's backward loop; adds to `theta_bar` in place."""
        velocity_bar = [torch.zeros_like(b) for b in lam_bar]
        while path:
            step = path.pop()  # Frees what was kept of it.
            for velocity, lam in zip(velocity_bar, lam_bar, strict=True):
                velocity.add_(lam, alpha=self.case.step_size)
            vector = _clip_pull(step[1], self.case.clip_norm, velocity_bar)
            products, theta_products = self._product(step, vector, theta, x)
            lam_bar = [b - h for b, h in zip(lam_bar, products, strict=True)]
            for bar, product in zip(theta_bar, theta_products, strict=True):
                if product is not None:
                    bar.sub_(product)
            velocity_bar = [self.case.momentum * b for b in velocity_bar]
        return lam_bar

    def _product(self, step, vector, theta, x):
        """(H_ll v, H_tl v) at a step."""
        if self.way == "exact":
            return self._exact_product(step, vector, theta, x)
        lam, gradient, weights, row = step
        size = torch.sqrt(sum((v * v).sum() for v in vector)).clamp_min(1e-30)
        distance = self.eps / size
        ahead = [p + distance * v for p, v in zip(lam, vector, strict=True)]
        _, high, high_weights = self._gradient(ahead, theta, x, row, weights=True)
        if self.way == "central":
            behind = [p - distance * v for p, v in zip(lam, vector, strict=True)]
            _, gradient, weights = self._gradient(behind, theta, x, row, weights=True)
            distance = 2.0 * distance
        return (
            [(a - b) / distance for a, b in zip(high, gradient, strict=True)],
            [_slope(a, b, distance) for a, b in zip(high_weights, weights, strict=True)],
        )

    def _exact_product(self, step, vector, theta, x):
        """The gradient of <gradient, v>: autograd over autograd's own graph."""
        names, leaves = theta
        lam = [p.detach().requires_grad_() for p in step[0]]
        value = self._value(lam, names, leaves, x, step[3], twice=True)
        gradient = torch.autograd.grad(value, lam, create_graph=True)
        both = torch.autograd.grad(gradient, [*lam, *leaves], vector, allow_unused=True)
        return both[:2], both[2:]

    def _unrolled(self, encoder, decoder, lam, prepared, x, noise):
        """Autograd through all steps: memory grows with K."""
        names, leaves = list(decoder), [*decoder.values(), *prepared]
        velocity = [torch.zeros_like(p) for p in lam]
        for row in noise[:-1]:
            value = self._value(lam, names, leaves, x, row, twice=True)
            gradient = torch.autograd.grad(value, lam, create_graph=True)
            lam, velocity = self._move(lam, velocity, gradient)
        loss = self._value(lam, names, leaves, x, noise[-1], twice=True) / len(x)
        found = torch.autograd.grad(loss, [*encoder.values(), *decoder.values()])
        count = len(encoder)
        return loss.detach(), dict(zip(encoder, found, strict=False)), dict(
            zip(decoder, found[count:], strict=True)
        )

    def _weights(self, loss, encoder, decoder, made, lam_bar, theta_bar):
        """Carries the bars of lambda_0 and of what was prepared to all weights."""
        start, prepared = made
        encoder_bar = torch.autograd.grad(start, list(encoder.values()), lam_bar)
        through = torch.autograd.grad(
            prepared, list(decoder.values()), theta_bar[len(decoder) :], allow_unused=True
        )
        decoder_bar = [_sum(a, b) for a, b in zip(theta_bar, through, strict=False)]
        return (
            loss,
            dict(zip(encoder, encoder_bar, strict=True)),
            dict(zip(decoder, decoder_bar, strict=True)),
        )

    def infer(self, encoder, decoder, x, noise):
        """lambda_K: K steps from the encoder's parameters."""
        with torch.no_grad():
            lam = list(self.model.encode(encoder, x))
            prepared = list(self.model.prepare(decoder, x))
        return self._forth(lam, self._theta(decoder, prepared), x, noise)[0]


def _slope(high, low, distance):
    return None if high is None else (high - low) / distance


def _sum(left, right):
    if left is None or right is None:
        return right if left is None else left
    return left + right
