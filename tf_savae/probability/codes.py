"""Several samples of z for each example, antithetic pairs among them, and their KL."""

from collections.abc import Sequence

import tensorflow as tf

from tf_savae.core.typing import Distribution, Seed
from tf_savae.probability.elbo import closed_form_kl
from tf_savae.probability.families import Family

__all__ = ["check_antithetic", "draw_codes", "kl_of_codes"]


def draw_codes(
    family: Family, posterior: Distribution, seeds: Sequence[Seed], antithetic: bool = False
) -> list[tf.Tensor]:
    """S samples of z, a list of tensors [B, Z].

    Args:
      family: whose `distribution` gave `posterior`.
      posterior: q(z), batch shape [B].
      seeds: S stateless seeds.
      antithetic: sample 2 i + 1 is 2 mean - z of sample 2 i: the part of the noise that is odd in
        z - mean cancels in the average.

    Raises:
      ValueError: antithetic, and the family does not say that it is symmetric or S is odd.

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
    """Raises ValueError where samples cannot come in mirrored pairs.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_antithetic(DiagonalGaussian(), 3)
    Traceback (most recent call last):
    ValueError: samples: expected an even number with antithetic=True, got 3.
    """
    if samples % 2:
        raise ValueError(f"samples: expected an even number with antithetic=True, got {samples}.")
    if not family.symmetric:
        raise ValueError(
            "antithetic: expected a family that is symmetric around its mean and says so with "
            f"symmetric = True, as DiagonalGaussian, got {type(family).__name__}."
        )


def kl_of_codes(
    posterior: Distribution, prior: Distribution, codes: Sequence[tf.Tensor]
) -> tf.Tensor:
    """KL(q || p) [S, B] for S samples: in closed form once for all where there is one."""
    known = closed_form_kl(posterior, prior)
    if known is not None:
        return tf.broadcast_to(known, [len(codes), tf.shape(known)[0]])
    return tf.stack([posterior.log_prob(z) - prior.log_prob(z) for z in codes])
