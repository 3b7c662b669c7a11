"""Binary drawings of outlined and filled shapes with random position, size, angle and stroke."""

import numpy as np

__all__ = ["KINDS", "drawing"]

SIDE = 28
_NORMALS = (np.pi / 2, -np.pi / 6, -5 * np.pi / 6)  # Directions of a triangle's edge normals.
KINDS = ("disc", "ring", "square", "frame", "triangle", "cross", "stripes")


def drawing(kind: str, rng: np.random.RandomState) -> np.ndarray:
    """Returns a random drawing of the given kind: bool [28, 28], where True is ink.

    Args:
      kind: one of `KINDS`.
      rng: `numpy.random.RandomState`.

    >>> picture = drawing("disc", np.random.RandomState(0))
    >>> picture.shape, bool(20 < picture.sum() < 300)
    ((28, 28), True)
    """
    radius, stroke = _between(5.0, 9.5, rng), _between(0.8, 1.8, rng)
    margin = radius + 1
    centre = [_between(margin, SIDE - 1 - margin, rng) for _ in range(2)]
    turn = _between(-0.6, 0.6, rng)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    down, across = rows - centre[0], columns - centre[1]
    u = np.cos(turn) * across + np.sin(turn) * down
    v = np.cos(turn) * down - np.sin(turn) * across
    return _DRAWERS[kind](u, v, radius, stroke)


def _between(low, high, rng):
    return low + (high - low) * rng.random_sample()


def _inside_square(u, v, radius):
    return np.maximum(abs(u), abs(v)) < 0.8 * radius


def _triangle(u, v, radius, stroke):
    edges = [np.cos(angle) * u + np.sin(angle) * v for angle in _NORMALS]
    depth = radius / 2 - np.max(edges, axis=0)
    return (depth > 0) & (depth < 1.6 * stroke)


def _cross(u, v, radius, stroke):
    near = np.minimum(abs(u), abs(v)) < stroke
    return near & (np.maximum(abs(u), abs(v)) < radius)


def _stripes(u, v, radius, stroke):
    inside = np.maximum(abs(u), abs(v)) < 0.8 * radius
    return inside & ((v + 20 * radius) % (radius / 1.6) < 1.2 * stroke)


_DRAWERS = {
    "disc": lambda u, v, radius, stroke: np.hypot(u, v) < 0.8 * radius,
    "ring": lambda u, v, radius, stroke: abs(np.hypot(u, v) - radius + stroke) < stroke,
    "square": lambda u, v, radius, stroke: _inside_square(u, v, radius),
    "frame": lambda u, v, radius, stroke: (
        _inside_square(u, v, radius) & ~_inside_square(u, v, radius - 2 * stroke)
    ),
    "triangle": _triangle,
    "cross": _cross,
    "stripes": _stripes,
}
