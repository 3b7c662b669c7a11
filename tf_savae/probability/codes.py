"""Draws several samples of z per example, optionally in antithetic pairs; and their KL terms."""

from collections.abc import Sequence

import tensorflow as tf

from tf_savae.core.typing import Distribution, Seed
from tf_savae.probability.elbo import closed_form_kl
from tf_savae.probability.families import Family

__all__ = ["check_antithetic", "draw_codes", "kl_of_codes"]


def draw_codes(
    family: Family, posterior: Distribution, seeds: Sequence[Seed], antithetic: bool = False
) -> list[tf.Tensor]:
    """Returns S samples of z, a list of tensors [B, Z].

    Args:
      family: the `Family` of `posterior`.
      posterior: q(z), batch shape [B].
      seeds: S stateless seeds.
      antithetic: whether sample 2 i + 1 is 2 mean - z for z of sample 2 i. The part of the noise
        that is odd in z - mean then cancels in the average.

    Raises:
      ValueError: antithetic, and S is odd or the family is not declared symmetric.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> family = DiagonalGaussian()
    >>> posterior = family.distribution(family.zeros(2, 3))
    >>> first, second = draw_codes(family, posterior, [[0, 1], [0, 2]], antithetic=True)
    >>> bool(tf.reduce_all(first == -second))
    True
    """
    if not antithetic:
        return [posterior.sample(seed=seed) for seed in seeds]
    check_antithetic(family, len(seeds))
    codes = []
    for seed in seeds[::2]:
        z = posterior.sample(seed=seed)
        codes += [z, 2 * posterior.mean() - z]
    return codes


def check_antithetic(family: Family, samples: int) -> None:
    """Raises ValueError if samples cannot be drawn in antithetic pairs.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_antithetic(DiagonalGaussian(), 3)
    Traceback (most recent call last):
    ValueError: samples: expected an even number with antithetic=True, got 3.
    """
    if samples % 2:
        raise ValueError(f"samples: expected an even number with antithetic=True, got {samples}.")
    if not family.symmetric:
        raise ValueError(
            "antithetic: expected a family that is symmetric around its mean and sets "
            f"symmetric = True, as DiagonalGaussian does, got {type(family).__name__}."
        )


def kl_of_codes(
    posterior: Distribution, prior: Distribution, codes: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Returns KL(q || p), [S, B] nats, for S samples; in closed form if TFP has one."""
    known = closed_form_kl(posterior, prior)
    if known is not None:
        return tf.broadcast_to(known, [len(codes), tf.shape(known)[0]])
    return tf.stack([posterior.log_prob(z) - prior.log_prob(z) for z in codes])
