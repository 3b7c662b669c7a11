"""Converts arrays from image files to [N, H, W]: flat rows, packed bits, MATLAB column order."""

import math

import numpy as np

__all__ = ["from_matlab", "from_rows"]


def from_rows(array: np.ndarray, source: str) -> np.ndarray:
    """Returns images [N, H, W] from an array whose first axis is the image index.

    Accepts [N, H, W], [N, H, W, 1], flat rows [N, H W] of square images, and uint8 rows of
    H W / 8 bytes with one bit per pixel (`numpy.packbits`). The interpretation of a row is unique,
    because no square number is eight times another one.

    Raises:
      ValueError: the rows are not square images, packed or unpacked.

    >>> from_rows(np.zeros([5, 98], np.uint8), "packed").shape
    (5, 28, 28)
    """
    if array.ndim != 2:
        return array
    side = _side(array.shape[1])
    if side is not None:
        return array.reshape(-1, side, side)
    side = _side(8 * array.shape[1])
    if side is not None and array.dtype == np.uint8:
        return np.unpackbits(array, axis=1).reshape(-1, side, side)
    raise ValueError(
        f"{source}: expected images [N, H, W], or rows of square images, got shape "
        f"{list(array.shape)} of {array.dtype}. Reshape it to [N, H, W]."
    )


def from_matlab(array: np.ndarray, source: str) -> np.ndarray:
    """Returns images [N, H, W] from a MATLAB array [H, W, N] or [H W, N] in column-major order.

    Rows [N, H W] (saved from Python) are recognized by their shape and read in row-major order. If
    both axes are square numbers, the longer axis is the image index.

    Raises:
      ValueError: the pixel axis cannot be determined: neither axis or both qualify.

    >>> from_matlab(np.arange(12).reshape(4, 3), "example")[0].tolist()
    [[0, 6], [3, 9]]
    """
    if array.ndim == 3:
        return np.moveaxis(array, 2, 0)
    if array.ndim != 2:
        return array
    by_columns, by_rows = (_side(size) for size in array.shape)
    longer = np.sign(array.shape[1] - array.shape[0])
    if by_columns and (longer > 0 or not by_rows):
        return array.T.reshape(-1, by_columns, by_columns).swapaxes(1, 2)
    if by_rows and (longer < 0 or not by_columns):
        return array.reshape(-1, by_rows, by_rows)
    raise ValueError(
        f"{source}: expected images [H, W, N] or [H*W, N], the MATLAB layout, or rows [N, H*W], of "
        f"square images; got shape {list(array.shape)}. Save them as .npz with shape [N, H, W]."
    )


def _side(size):
    """Returns the side of a square of `size` pixels, or None; images have at least two rows."""
    side = math.isqrt(size)
    return side if side * side == size and side > 1 else None
