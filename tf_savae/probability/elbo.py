"""Computes the terms of the ELBO, one number per example, in nats."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.core.typing import Distribution, Seed, TensorLike

__all__ = ["ElboTerms", "elbo_terms", "kl_divergence"]

tfd = tfp.distributions


class ElboTerms(NamedTuple):
    """-log p(x | z) and KL(q || p), each [B], nats; `nll` is a one-sample estimate."""

    nll: Any
    kl: Any

    def weighted(self, beta: TensorLike = 1.0, free_bits: float = 0.0) -> tf.Tensor:
        """Returns nll + beta max(kl, free_bits), [B] nats, for KL annealing and free bits.

        Below `free_bits` (nats, Kingma et al. 2016, https://arxiv.org/abs/1606.04934, here for all
        latent dimensions of one example together) the KL term is constant and has no gradient.

        >>> ElboTerms(tf.ones([1]), tf.ones([1])).weighted(0.5).numpy().tolist()
        [1.5]
        """
        kl = tf.maximum(self.kl, free_bits) if free_bits else self.kl
        # A Python number is not cast: that would round it to float32 first.
        return self.nll + (tf.cast(beta, kl.dtype) if tf.is_tensor(beta) else beta) * kl

    @property
    def bound(self) -> tf.Tensor:
        """The negative ELBO nll + kl, [B]: an upper bound on -log p(x)."""
        return self.weighted()


def kl_divergence(posterior: Distribution, prior: Distribution, z: tf.Tensor) -> tf.Tensor:
    """Returns KL(posterior || prior), [B] nats: closed form if known, else log q(z) - log p(z).

    Args:
      posterior, prior: TFP distributions over [Z], the posterior with batch shape [B].
      z: a sample of the posterior [B, Z], used by the one-sample estimate.

    >>> from tf_savae.probability import standard_normal
    >>> q = tfd.Independent(tfd.Normal(tf.ones([1, 2]), 1.0), 1)
    >>> kl_divergence(q, standard_normal(2), None).numpy().tolist()
    [1.0]
    """
    known = closed_form_kl(posterior, prior)
    return posterior.log_prob(z) - prior.log_prob(z) if known is None else known


def closed_form_kl(posterior, prior):
    """Returns KL(posterior || prior), [B] nats, or None if TFP has no closed form.

    >>> from tf_savae.probability import standard_normal
    >>> print(closed_form_kl(tfd.Independent(tfd.Laplace([[0.0]], 1.0), 1), standard_normal(1)))
    None
    """
    if isinstance(posterior, tfd.MultivariateNormalTriL) and _is_diagonal_normal(prior):
        return _triangular_kl(posterior, prior)
    try:
        return tfd.kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


def _is_diagonal_normal(prior):
    return isinstance(prior, tfd.Independent) and isinstance(prior.distribution, tfd.Normal)


def _triangular_kl(posterior, prior):
    """Returns KL(N(m, L L') || N(m_0, diag s^2)), which TFP implements only for two MVNs.

    KL = 1/2 sum_i [ (L L')_ii / s_i^2 + (m - m_0)_i^2 / s_i^2 - 1 ] - sum_i log(L_ii / s_i)
    """
    lower = posterior.scale.to_dense()
    scale = prior.distribution.scale
    shift = tf.square((posterior.mean() - prior.distribution.loc) / scale)
    variance_ratio = tf.reduce_sum(tf.square(lower), axis=-1) / tf.square(scale)
    log_ratio = tf.math.log(tf.linalg.diag_part(lower)) - tf.math.log(scale)
    return tf.reduce_sum(0.5 * (variance_ratio + shift - 1.0) - log_ratio, axis=-1)


def elbo_terms(
    log_likelihood: Callable[..., tf.Tensor],
    posterior: Distribution,
    prior: Distribution,
    seed: Seed,
) -> ElboTerms:
    """Draws one z per example and returns the `ElboTerms`.

    Args:
      log_likelihood: maps z [B, Z] to log p(x | z), [B], nats.
      posterior: TFP distribution, batch shape [B], event shape [Z], reparameterised.
      prior: TFP distribution over [Z].
      seed: stateless seed [2] of the sample.

    >>> from tf_savae.probability import standard_normal
    >>> q = tfd.Independent(tfd.Normal(tf.zeros([2, 3]), 1.0), 1)
    >>> terms = elbo_terms(lambda z: -tf.ones([2]), q, standard_normal(3), [0, 1])
    >>> terms.bound.numpy().tolist()
    [1.0, 1.0]
    """
    z = posterior.sample(seed=tf.convert_to_tensor(seed))
    return ElboTerms(-log_likelihood(z), kl_divergence(posterior, prior, z))
