"""`ImageSet`: images with a known pixel range, and their binarisation."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Self, TypeAlias

import numpy as np

from tf_savae.core.typing import TensorLike

__all__ = ["ImageSet"]

# Largest plausible ratio of width to height; [H, W, N] read as [N, H, W] exceeds it.
_NARROW = 4
_HALF = 128  # If no pixel reaches this value, the range is not 0..255.
_DARK = 32  # The same limit for uint8 arrays, whose dtype implies 0..255.

_OF_COLOURS = " Convert colours to greyscale with load_images(grey=True) or --to_grey."

Rows: TypeAlias = Sequence[int] | np.ndarray | slice  # Indices of images.


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Binary or grey images of one size.

    A grey value is the probability of ink, so grey data are a distribution over binary images.
    Training samples binary images in every epoch, and evaluation samples them once (Burda et al.
    2016, https://arxiv.org/abs/1509.00519, for Omniglot).

    >>> grey = ImageSet.of([[[0.0, 1.0], [0.25, 0.75]]], "example")
    >>> grey.binary, grey.probabilities([0]).tolist()
    (False, [[[0.0, 1.0], [0.25, 0.75]]])
    """

    levels: np.ndarray = dataclasses.field(repr=False)  # uint8 or float32 [N, H, W]
    full: float  # the level whose probability of ink is 1: 1 or 255
    source: str  # name of the source

    @classmethod
    def of(cls, array: TensorLike, source: str) -> Self:
        """Returns the `ImageSet` of an array of booleans, values 0..255 or values 0..1.

        Args:
          array: [N, H, W], [N, H, W, 1] or [N, 1, H, W].
          source: name of the source in error messages.

        Raises:
          ValueError: the shape is wrong, there are no images, a pixel is NaN or outside both
            ranges, or the range is another one, such as 0..16, which is nearly blank in 0..255.
          TypeError: the array is not numeric.
        """
        array = _three_axes(np.asarray(array), source)
        full = 1.0 if _highest(array, source) <= 1 else 255.0
        if np.all((array == 0) | (array == full)):
            return cls((array > 0).astype(np.uint8), 1.0, source)
        kept = np.float32 if array.dtype.kind == "f" else np.uint8
        return cls(array.astype(kept), full, source)

    def __len__(self):
        return len(self.levels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The image size (H, W)."""
        return tuple(self.levels.shape[1:])

    @property
    def binary(self) -> bool:
        """Whether every pixel is 0 or 1, so that no sampling is needed."""
        return self.full == 1 and self.levels.dtype == np.uint8

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Returns the probabilities of ink of the images `rows`, float32 [n, H, W]."""
        return self.levels[rows].astype(np.float32) / np.float32(self.full)

    def drawn(self, rows: Rows, generator: np.random.Generator | None) -> np.ndarray:
        """Samples binary images float32 [n, H, W, 1]; grey images need a NumPy generator."""
        chance = self.probabilities(rows)
        if not self.binary:
            assert generator is not None, "grey images need one"
            chance = generator.random(chance.shape, dtype=np.float32) < chance
        return chance.astype(np.float32)[..., None]

    def binarized(self, seed: int | Sequence[int] | np.random.Generator) -> "ImageSet":
        """Returns binary images, sampled once with `seed`: one or more ints, or a generator."""
        if self.binary:
            return self
        generator = np.random.default_rng(seed)
        parts = np.array_split(np.arange(len(self)), max(1, len(self) // 1000))
        drawn: list[np.ndarray] = []
        for rows in parts:
            drawn.append(self.drawn(rows, generator)[..., 0].astype(np.uint8))
        return ImageSet(np.concatenate(drawn), 1.0, self.source)

    def select(self, rows: Rows) -> "ImageSet":
        """Returns the `ImageSet` of the images `rows`, in that order."""
        return ImageSet(self.levels[rows], self.full, self.source)

    def digest(self) -> str:
        """Returns the SHA-256 of the images, their size and their range."""
        head = f"{self.levels.shape} {self.levels.dtype} {self.full}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.levels).tobytes()).hexdigest()

    def summary(self) -> str:
        """Returns a one-line description."""
        kind = "binary" if self.binary else f"greyscale 0..{self.full:g}"
        ink = float(np.mean(self.levels, dtype=np.float64)) / self.full
        height, width = self.shape
        return (
            f"{self.source}: {len(self):,} images {height}x{width}, {kind}, mean intensity "
            f"{ink:.1%}"
        )


def _three_axes(array, source):
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{source}: expected numbers, got dtype {array.dtype}.")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    elif array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3:
        raise ValueError(
            f"{source}: expected one-channel images [N, H, W], [N, H, W, 1] or [N, 1, H, W], got "
            f"shape {list(array.shape)}.{_OF_COLOURS if array.shape[-1:] == (3,) else ''}"
        )
    height, width, count = array.shape
    if height == width and count > _NARROW * width > _NARROW:
        raise ValueError(
            f"{source}: expected images [N, H, W], got shape {list(array.shape)}, which looks like "
            "[H, W, N]. Move the axis that counts them to the front: numpy.moveaxis(images, 2, 0)."
        )
    if not array.size:
        raise ValueError(f"{source}: expected at least one image, got shape {list(array.shape)}.")
    return array


def _highest(array, source):
    """Returns the largest pixel after checking that all pixels are in range."""
    low, high = array.min(), array.max()  # NaN if a pixel is NaN.
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise ValueError(
            f"{source}: expected finite numbers, got {bad:,} NaN or infinite pixels out of "
            f"{array.size:,}. Clean the images first."
        )
    if low < 0 or high > 255:
        raise ValueError(
            f"{source}: expected pixels from 0 to 1 or from 0 to 255, got {low:g} to {high:g}. "
            "Rescale the images first."
        )
    if 1 < high < (_DARK if array.dtype == np.uint8 else _HALF):
        raise ValueError(
            f"{source}: expected pixels from 0 to 1 or from 0 to 255, got a maximum of {high:g}, "
            "which suggests another range. Divide the pixels by their maximum level first."
        )
    return float(high)
