"""Interpolation between latent vectors, and traversal of one latent dimension at a time."""

from collections.abc import Sequence

import numpy as np

from tf_savae.core import validation

__all__ = ["interpolate", "traverse"]

_PATHS = ("linear", "spherical")


def interpolate(
    start: np.ndarray, end: np.ndarray, points: int, path: str = "linear"
) -> np.ndarray:
    """Returns latent vectors on a path from `start` to `end`, both included.

    "spherical" (White 2016, https://arxiv.org/abs/1609.04468) preserves norms that are likely under
    the prior, whereas a straight line passes nearer to the origin. If both ends have the same norm,
    consecutive points differ by equal angles. For parallel, opposite or zero ends, it is the
    straight line.

    Args:
      start, end: latent vectors [Z].
      points: number of points, at least 2.
      path: "linear" or "spherical".

    Returns:
      float32 [points, Z].

    Raises:
      ValueError: an argument is out of range, or `start` and `end` differ in shape.

    >>> interpolate([0.0, 2.0], [2.0, 0.0], 3).tolist()
    [[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]]
    >>> interpolate([0.0, 2.0], [2.0, 0.0], 3, "spherical").tolist()
    [[..., 2.0], [1.414..., 1.414...], [2.0, ...]]
    """
    validation.choice("path", path, _PATHS)
    if validation.positive_int("points", points) < 2:
        raise ValueError(f"points: expected at least the 2 ends, got {points}.")
    start, end = _code("start", start), _code("end", end)
    if start.shape != end.shape:
        raise ValueError(
            f"end: expected a latent vector like start, shape {list(start.shape)}, got "
            f"{list(end.shape)}."
        )
    share = np.linspace(0.0, 1.0, points)[:, None]
    first, second = _weights(start, end, share) if path == "spherical" else (1 - share, share)
    return (first * start + second * end).astype(np.float32)


def _weights(start, end, share):
    """Returns the weights of both ends, [points, 1] each, for spherical interpolation."""
    norms = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = np.clip(start @ end / norms, -1.0, 1.0) if norms else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return 1 - share, share
    return np.sin((1 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)


def traverse(
    center: np.ndarray,
    points: int = 7,
    extent: float = 3.0,
    dimensions: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns latent vectors that differ from `center` in one dimension at a time.

    Args:
      center: latent vector [Z].
      points: number of vectors per dimension; an odd number includes `center` itself.
      extent: the largest change, in units of z: standard deviations of a standard normal prior.
      dimensions: the dimensions to change, ints from 0 to Z - 1; None for all.

    Returns:
      (codes float32 [D, points, Z], changes float32 [points], from -extent to extent).

    Raises:
      ValueError: an argument is out of range.

    >>> codes, changes = traverse([0.0, 5.0], points=3, extent=1.0, dimensions=[1])
    >>> codes.tolist()
    [[[0.0, 4.0], [0.0, 5.0], [0.0, 6.0]]]
    """
    center = _code("center", center)
    validation.positive_int("points", points)
    validation.positive("extent", extent)
    size = len(center)
    dimensions = range(size) if dimensions is None else list(dimensions)
    wrong = [d for d in dimensions if validation.non_negative_int("dimensions", d) >= size]
    if wrong or not dimensions:
        raise ValueError(
            f"dimensions: expected one or more of 0 to {size - 1}, got {list(dimensions)}."
        )
    changes = np.linspace(-extent, extent, points) if points > 1 else np.zeros(1)
    codes = np.tile(center, (len(dimensions), points, 1))
    for index, dimension in enumerate(dimensions):
        codes[index, :, dimension] += changes
    return codes.astype(np.float32), changes.astype(np.float32)


def _code(name, code):
    code = np.asarray(code, np.float64)
    if code.ndim != 1 or not code.size:
        raise ValueError(f"{name}: expected one latent vector [Z], got shape {list(code.shape)}.")
    return validation.finite(name, code, "Check the weights of the model.")
