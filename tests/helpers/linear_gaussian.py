"""A VAE whose likelihood, posterior and inference gaps are known in closed form.

p(z) = N(0, I), p(x | z) = N(z W, I): the posterior is N(mean(x), covariance), with one covariance
for every x. In the diagonal family the best q has the posterior's mean and the variances
1 / precision_ii; what that loses is the same for every x.
"""

import keras
import numpy as np

from tf_savae import SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.networks import DistributionDecoder

W = np.array([[1.2, 0.8, -0.5, 0.3], [1.0, 0.6, -0.1, 0.0]])
PRECISION = np.eye(2) + W @ W.T
COVARIANCE = np.linalg.inv(PRECISION)


def data(count=12, seed=0):
    """x [count, 4], float32, drawn from the model."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, 2))
    return (z @ W + rng.normal(size=(count, 4))).astype(np.float32)


def nll(x):
    """-log p(x), [N] nats."""
    covariance = W.T @ W + np.eye(4)
    quadratic = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    return 0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])


def posterior_mean(x):
    """[N, 2]."""
    return x @ W.T @ COVARIANCE


def approximation_gap():
    """KL from the best diagonal q to the posterior, nats."""
    diagonal = np.log(np.diag(PRECISION)).sum()
    return 0.5 * (diagonal - np.linalg.slogdet(PRECISION)[1])


def negative_elbo(x, mean, variance):
    """Of q = N(mean, diag(variance)), [N] nats: -log p(x) + KL(q || posterior)."""
    moved = mean - posterior_mean(x)
    quadratic = np.einsum("ni,ij,nj->n", moved, PRECISION, moved)
    trace = (np.diag(PRECISION) * variance).sum(axis=-1)
    log_ratio = np.linalg.slogdet(COVARIANCE)[1] - np.log(variance).sum(axis=-1)
    return nll(x) + 0.5 * (quadratic + trace - 2 + log_ratio)


def model(steps=5, step_size=0.1, samples=1):
    """The model with an encoder that proposes the prior whatever it sees, uncompiled by XLA."""
    decoder = DistributionDecoder(keras.layers.Dense(4, use_bias=False), "normal")
    refinement = SemiAmortizedRefinement(
        steps=steps, step_size=step_size, samples=samples, clip_norm=None
    )
    encoder = keras.layers.Dense(4, kernel_initializer="zeros")
    built = SemiAmortizedVAE(encoder, decoder, refinement=refinement, latent_size=2)
    built.compile(jit_compile=False)
    built(data(1))
    decoder.network.set_weights([W.astype(np.float32)])
    return built
