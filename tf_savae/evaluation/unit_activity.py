"""Active units (Burda et al. 2016, https://arxiv.org/abs/1509.00519, section 5.2)."""

import numpy as np

from tf_savae.core import validation

__all__ = ["active_units"]


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Counts active units: latent dimensions i with Var_x(E_q[z_i | x]) > threshold.

    Args:
      means: posterior means of the examples, float [N, Z], N >= 2.
      threshold: variance above which a dimension is active.

    Returns:
      An int from 0 to Z.

    Raises:
      ValueError: `means` has another rank, fewer than 2 rows, or NaN.

    >>> active_units([[0.0, 1.0], [0.0, 3.0], [0.01, 2.0]])
    1
    """
    means = np.asarray(means, np.float64)
    if means.ndim != 2 or len(means) < 2:
        raise ValueError(
            "means: expected posterior means [N, Z] of at least 2 examples, got shape "
            f"{list(means.shape)}."
        )
    validation.finite("means", means, "The posterior is not finite: check the training.")
    validation.positive("threshold", threshold, zero=True)
    return int(np.count_nonzero(means.var(axis=0) > threshold))
