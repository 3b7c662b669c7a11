"""How far two contenders' answers are apart."""

import numpy as np

__all__ = ["largest_error"]


def largest_error(answers, reference):
    """(relative norm of the worst difference, its name) over all weights.

    Args:
      answers, reference: {name: array}.

    Raises:
      ValueError: the two do not have the same names.

    >>> largest_error({"a": [1.0, 0.0]}, {"a": [0.0, 2.0]})[1]
    'a'
    """
    if set(answers) != set(reference):
        missing = sorted(set(answers) ^ set(reference))
        raise ValueError(f"answers: expected the names of ours, but these are in one: {missing}.")
    errors = {name: _relative(answers[name], reference[name]) for name in reference}
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def _relative(value, reference):
    """Not a number counts as infinitely far."""
    value, reference = (np.asarray(array, np.float64) for array in (value, reference))
    if value.shape != reference.shape:
        return float("inf")
    size = np.linalg.norm(reference)
    error = np.linalg.norm(value - reference) / max(size, 1e-30)
    return float(error) if np.isfinite(error) else float("inf")
