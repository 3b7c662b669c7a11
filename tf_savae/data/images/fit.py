"""Preprocesses images: converts colours to grey levels, and resizes to a square."""

from typing import NamedTuple

import numpy as np

from tf_savae.core import validation
from tf_savae.core.typing import PathLike

__all__ = ["AS_THEY_ARE", "Fit", "as_fit"]

_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)  # Of red, green and blue: ITU-R BT.601.
_CHUNK = 500  # Images converted to float at a time.


class Fit(NamedTuple):
    """Preprocessing that gives all images the same size and number of channels.

    >>> Fit(2, "grey").many(np.full([5, 6, 4, 3], 200, np.uint8), "example").tolist()[0]
    [[200, 200], [200, 200]]
    """

    size: int | None = None  # side of the square to resize the centre crop to; None: unchanged
    colours: str = "refuse"  # "grey": convert to grey levels; "keep": always three channels

    def one(self, picture: np.ndarray, name: PathLike) -> np.ndarray:
        """Returns one preprocessed image [H, W], or [H, W, 3] if colours are kept.

        Integers stay integers, because one dark image does not determine the range of its dataset.

        Args:
          picture: array [H, W] or [H, W, 3].
          name: name of the image in error messages.

        Raises:
          ValueError: the image has colours and `colours` is "refuse".
        """
        return self.many(picture[None], name, whole=picture.dtype.kind in "iu")[0]

    def many(self, pictures: np.ndarray, name: PathLike, whole: bool | None = None) -> np.ndarray:
        """Returns preprocessed images [N, H, W] or [N, H, W, 3].

        Resizing crops images that are not square to the central square.

        Args:
          pictures: array [N, H, W], [N, H, W, 1], [N, 1, H, W] or [N, H, W, 3].
          name: name of the images in error messages.
          whole: whether to round to integers; by default if the images are integers above 1.

        Raises:
          ValueError: the images have another shape, or have colours and `colours` is "refuse".
        """
        if pictures.ndim == 4 and 1 in (pictures.shape[1], pictures.shape[3]):
            axis = 3 if pictures.shape[3] == 1 else 1
            pictures = np.squeeze(pictures, axis)
        coloured = pictures.ndim == 4 and pictures.shape[3] == 3
        if pictures.ndim != 3 and not coloured:
            raise ValueError(
                f"{name}: expected images [N, H, W] or [N, H, W, 3], got shape "
                f"{list(pictures.shape)}."
            )
        if coloured and self.colours == "refuse":
            raise ValueError(
                f"{name}: expected greyscale or black-and-white pixels, got colours. Convert the "
                "images to greyscale first, or use grey=True (--to_grey)."
            )
        if self.colours == "keep" and not coloured:
            pictures = np.repeat(pictures[..., None], 3, axis=3)
        if self.size is None and not (coloured and self.colours == "grey"):
            return pictures
        if whole is None:
            whole = pictures.dtype.kind in "iu" and bool(pictures.size) and pictures.max() > 1
        chunks = [pictures[n : n + _CHUNK] for n in range(0, len(pictures), _CHUNK)]
        return np.concatenate([self._fitted(chunk, whole) for chunk in chunks])

    def _fitted(self, pictures, whole):
        values = pictures.astype(np.float32)
        if pictures.ndim == 4 and self.colours == "grey":
            values = values @ _BRIGHTNESS
        if self.size is not None:
            values = _resized(values, self.size)
        if whole:
            return np.rint(values).astype(pictures.dtype)
        return np.clip(values, 0, pictures.max())  # Rounding errors may exceed the range.


AS_THEY_ARE = Fit()


def as_fit(size: int | None, grey: bool) -> Fit:
    """Returns the `Fit` with the given arguments, after validating them.

    Raises:
      ValueError: an argument is out of range.

    >>> as_fit(28, False)
    Fit(size=28, colours='refuse')
    """
    if size is not None:
        size = validation.positive_int("size", size)
    return Fit(size, "grey" if validation.boolean("grey", grey) else "refuse")


def _resized(values, size):
    """Resizes the central square of images [N, H, W(, C)] by averaging over pixel areas."""
    height, width = values.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = values[:, top : top + side, left : left + side]
    weights = _shares(side, size)
    return np.einsum("ih,nhw...,jw->nij...", weights, square, weights, optimize=True)


def _shares(side, size):
    """Returns float32 [size, side]: the share of each new pixel that each old pixel covers."""
    ends = np.arange(size + 1) * side / size
    low, high = ends[:-1, None], ends[1:, None]
    old = np.arange(side)
    covered = np.minimum(high, old + 1) - np.maximum(low, old)
    return (np.maximum(covered, 0) * size / side).astype(np.float32)
