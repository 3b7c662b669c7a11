"""SA-VAE's gradient in JAX: through the scan, with checkpoints, and algorithm 1 by hand.

Every function here maps (encoder weights, decoder weights, x, noise [K + 1, B, Z]) to
(loss, (encoder gradients, decoder gradients)), the loss being the mean over the batch in nats.
"""

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["infer", "loss_and_gradients"]


def _objective(model, x):
    """The negative ELBO summed over the batch, of (lambda, theta, noise)."""

    def negative_elbo(lam, theta, noise):
        mean, log_variance = lam
        z = mean + jnp.exp(0.5 * log_variance) * noise
        kl = 0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1.0 - log_variance)
        return jnp.sum(model.nll(*theta, x, z)) + kl

    return negative_elbo


def _clip(gradient, limit):
    """Each example's (mean, log-variance) gradient scaled down to norm `limit`."""
    square = sum(jnp.sum(g**2, axis=1, keepdims=True) for g in gradient)
    long = square > limit**2
    scale = jnp.where(long, limit * lax.rsqrt(jnp.where(long, square, 1.0)), 1.0)
    return [scale * g for g in gradient]


def _step(negative_elbo, case):
    """One step: ((lambda, velocity), theta, noise) to the next state and the raw gradient."""

    def step(state, theta, noise):
        lam, velocity = state
        gradient = jax.grad(negative_elbo)(lam, theta, noise)
        clipped = _clip(gradient, case.clip_norm)
        velocity = [case.momentum * u - g for u, g in zip(velocity, clipped, strict=True)]
        lam = [p + case.step_size * u for p, u in zip(lam, velocity, strict=True)]
        return (lam, velocity), gradient

    return step


def _start(lam):
    return list(lam), [jnp.zeros_like(p) for p in lam]


def infer(model, case, encoder, decoder, x, noise):
    """lambda_K: K steps from the encoder's parameters, nothing stored."""
    theta = (decoder, model.prepare(decoder, x))
    step = _step(_objective(model, x), case)
    start = _start(model.encode(encoder, x))
    return _scan(case)(lambda s, n: (step(s, theta, n)[0], None), start, noise[:-1])[0][0]


def _scan(case):
    """lax.scan, written out for images.

    XLA:CPU is 5 to 15 times slower at derivatives of convolutions inside a loop, even one of a
    single turn, which is what lax.scan makes of one step whatever its `unroll`.
    """
    return _written_out if case.model == "image" else lax.scan


def _written_out(body, carry, rows, reverse=False):
    """lax.scan as a Python loop."""
    count = len(jax.tree.leaves(rows)[0])
    kept = [None] * count
    for index in reversed(range(count)) if reverse else range(count):
        row = jax.tree.map(lambda leaf, i=index: leaf[i], rows)
        carry, kept[index] = body(carry, row)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *kept) if kept else None


def _through_scan(model, case, checkpoint):
    """jax.grad of the loss after a scan over the steps."""

    def loss(weights, x, noise):
        encoder, decoder = weights
        negative_elbo = _objective(model, x)
        step = _step(negative_elbo, case)
        theta = (decoder, model.prepare(decoder, x))

        def body(state, theta, row):
            return step(state, theta, row)[0]

        body = jax.checkpoint(body) if checkpoint else body
        start = _start(model.encode(encoder, x))
        (lam, _), _ = _scan(case)(
            lambda state, row: (body(state, theta, row), None), start, noise[:-1]
        )
        return negative_elbo(lam, theta, noise[-1]) / len(x)

    return lambda encoder, decoder, x, noise: jax.value_and_grad(loss)((encoder, decoder), x, noise)


def _products(negative_elbo, reverse):
    """(H_ll v, H_tl v): jax.jvp of jax.grad, or (`reverse`) jax.grad of jax.jvp."""

    def forward_over_reverse(lam, theta, noise, vector):
        both = jax.grad(negative_elbo, (0, 1))
        return jax.jvp(lambda lam: both(lam, theta, noise), (lam,), (vector,))[1]

    def reverse_over_forward(lam, theta, noise, vector):
        def slope(lam, theta):
            return jax.jvp(lambda lam: negative_elbo(lam, theta, noise), (lam,), (vector,))[1]

        return jax.grad(slope, (0, 1))(lam, theta)

    return reverse_over_forward if reverse else forward_over_reverse


def _by_hand(model, case, reverse):
    """Algorithm 1: a scan that keeps lambda_k and its gradient, and a scan back of products."""

    def run(encoder, decoder, x, noise):
        negative_elbo = _objective(model, x)
        products = _products(negative_elbo, reverse)
        start, pull_encoder = jax.vjp(lambda w: list(model.encode(w, x)), encoder)
        prepared, pull_prepared = jax.vjp(lambda w: model.prepare(w, x), decoder)
        theta, step = (decoder, prepared), _step(negative_elbo, case)

        def forth(state, row):
            following, gradient = step(state, theta, row)
            return following, (state[0], gradient, row)

        def back(bars, kept):
            lam_bar, velocity_bar, theta_bar = bars
            lam, gradient, row = kept
            velocity_bar = _add(velocity_bar, lam_bar, case.step_size)
            clip = jax.vjp(lambda g: _clip(g, case.clip_norm), gradient)[1]
            lam_product, theta_product = products(lam, theta, row, clip(velocity_bar)[0])
            theta_bar = _add(theta_bar, theta_product, -1.0)
            velocity_bar = jax.tree.map(lambda u: case.momentum * u, velocity_bar)
            return (_add(lam_bar, lam_product, -1.0), velocity_bar, theta_bar), None

        (lam, _), path = _scan(case)(forth, _start(start), noise[:-1])
        total = jax.value_and_grad(negative_elbo, (0, 1))
        loss, bars = total(lam, theta, noise[-1])
        lam_bar, theta_bar = jax.tree.map(lambda g: g / len(x), bars)
        begin = (lam_bar, [jnp.zeros_like(b) for b in lam_bar], theta_bar)
        bars, _ = _scan(case)(back, begin, path, reverse=True)
        lam_bar, _, (decoder_bar, prepared_bar) = bars
        decoder_bar = _add(decoder_bar, pull_prepared(prepared_bar)[0], 1.0)
        return loss / len(x), (pull_encoder(lam_bar)[0], decoder_bar)

    return run


def _add(left, right, factor):
    return jax.tree.map(lambda a, b: a + factor * b, left, right)


def loss_and_gradients(model, case, method):
    """The function for a method: "vae", "scan", "checkpoint", "by_hand" or "by_hand_reverse"."""
    if method in ("vae", "scan", "checkpoint"):
        return _through_scan(model, case, method == "checkpoint")
    return _by_hand(model, case, method == "by_hand_reverse")
