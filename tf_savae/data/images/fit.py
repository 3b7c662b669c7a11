"""Fit pictures to a model: colours to brightness, any size to a square one."""

from typing import NamedTuple

import numpy as np

from tf_savae.core import validation

__all__ = ["AS_THEY_ARE", "Fit", "as_fit"]

_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)  # Of red, green and blue: ITU-R BT.601.
_CHUNK = 500  # Pictures that are held as floats at a time.


class Fit(NamedTuple):
    """What is done to pictures before they are images of one size.

    >>> Fit(2, "grey").many(np.full([5, 6, 4, 3], 200, np.uint8), "example").tolist()[0]
    [[200, 200], [200, 200]]
    """

    size: int | None = None  # side of the square that the middle is averaged to; None: as it is
    colours: str = "refuse"  # "grey": their brightness is taken; "keep": three channels in any case

    def one(self, picture, name):
        """A picture [H, W] or [H, W, 3], fitted: [H, W], or [H, W, 3] where colours are kept.

        Whole numbers stay whole: a single dark picture does not say which levels its set has.

        Raises:
          ValueError: it has colours, which are refused.
        """
        return self.many(picture[None], name, whole=picture.dtype.kind in "iu")[0]

    def many(self, pictures, name, whole=None):
        """`one` of each of [N, H, W], [N, H, W, 1], [N, 1, H, W] or [N, H, W, 3].

        Whole numbers stay whole where they reach beyond 1. Of what is not square the middle is
        taken.

        Raises:
          ValueError: they have another shape, or colours, which are refused.
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
                f"{name}: expected grey or black-and-white pixels, got colours. Convert it to grey "
                "levels first, or take their brightness with grey=True (--to_grey)."
            )
        if self.colours == "keep" and not coloured:
            pictures = np.repeat(pictures[..., None], 3, axis=3)
        if self.size is None and not (coloured and self.colours == "grey"):
            return pictures
        if whole is None:
            whole = pictures.dtype.kind in "iu" and pictures.size and pictures.max() > 1
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
        return np.clip(values, 0, pictures.max())  # Rounding may lead beyond.


AS_THEY_ARE = Fit()


def as_fit(size, grey):
    """The `Fit` of two arguments, checked.

    Raises:
      ValueError: one of them is out of its range.

    >>> as_fit(28, False)
    Fit(size=28, colours='refuse')
    """
    if size is not None:
        size = validation.positive_int("size", size)
    return Fit(size, "grey" if validation.boolean("grey", grey) else "refuse")


def _resized(values, size):
    """The middle of pictures [N, H, W(, C)], each new pixel the mean of the area it covers."""
    height, width = values.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = values[:, top : top + side, left : left + side]
    weights = _shares(side, size)
    return np.einsum("ih,nhw...,jw->nij...", weights, square, weights, optimize=True)


def _shares(side, size):
    """float32 [size, side]: how much of each new pixel each old one is."""
    ends = np.arange(size + 1) * side / size
    low, high = ends[:-1, None], ends[1:, None]
    old = np.arange(side)
    covered = np.minimum(high, old + 1) - np.maximum(low, old)
    return (np.maximum(covered, 0) * size / side).astype(np.float32)
