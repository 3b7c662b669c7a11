"""Read folders of images: Omniglot as published, and binarised MNIST as text files."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_savae.data.images import jpeg, png
from tf_savae.data.images.files import read_arrays
from tf_savae.data.images.fit import AS_THEY_ARE
from tf_savae.data.limits import check_expansion

__all__ = ["read_folder"]

_DECODERS = {".jpeg": jpeg, ".jpg": jpeg, ".png": png}

# What else holds images, by its suffix: it would be left out.
_OTHERS = set(
    ".jpe .jfif .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .heic .avif .svg .tga "
    ".ico .jp2 .npz .npy .mat .amat".split()
)
_SIDE = 28
_CHUNK = 500  # pictures of 105 x 105 held at a time
_MNIST = {part: f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")}
_OMNIGLOT = ("images_background", "images_evaluation")


def read_folder(path, fit=AS_THEY_ARE):
    """The images of a folder: {"train", "valid", "test"} or {"all"}, [N, H, W] or [N, H, W, 3].

    Either the three files binarized_mnist_{train,valid,test}.amat, or the .png and .jpg files in it
    and below it, in the order of their paths; they are opaque, and of 8 bits or less. Omniglot's
    105 x 105 drawings (images_background and images_evaluation, Lake et al. 2015) are averaged over
    areas down to 28 x 28, ink = 255.

    Args:
      path: of the folder.
      fit: the `Fit` of each picture.

    Raises:
      ValueError: the folder has neither, or images that are of several sizes once they are fitted,
        or other formats too, or files that are transparent, of 16 bits, or would fill the memory.
    """
    path = Path(path)
    present = {part: path / name for part, name in _MNIST.items() if (path / name).exists()}
    if present:
        missing = sorted(set(_MNIST) - set(present))
        if missing:
            raise ValueError(
                f"{path}: expected {', '.join(_MNIST.values())}, found none for "
                f"{', '.join(missing)}"
            )
        _files(path, {".amat"})
        return {p: fit.many(read_arrays(file)["all"], file) for p, file in present.items()}
    files = _files(path, set(_DECODERS))
    if not files:
        raise ValueError(
            f"{path}: expected .png or .jpg images in it or below it ({' and '.join(_OMNIGLOT)} "
            f"for Omniglot), or {', '.join(_MNIST.values())}; found neither"
        )
    _check_sizes(path, files)
    drawings = any(name in files[0].relative_to(path.parent).parts for name in _OMNIGLOT)
    ink = drawings and fit.size is None and fit.colours != "keep"
    prepared = _as_ink if ink else np.asarray
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    shape = _picture(files[0], fit).shape
    return {"all": np.concatenate([prepared(_pictures(chunk, shape, fit)) for chunk in chunks])}


def _files(folder, suffixes):
    """The files of a folder, and below it, with one of these suffixes, in upper or lower case."""
    # Names that begin with "._" are what macOS keeps beside a file.
    files = [file for file in sorted(folder.rglob("*")) if not file.name.startswith("._")]
    kept = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
    others = (set(_DECODERS) | _OTHERS) - suffixes
    left = [file for file in files if file.suffix.lower() in others and file.is_file()]
    if left:
        kinds = ", ".join(sorted({file.suffix for file in left}))
        known = " or ".join(sorted(suffixes - {".jpeg"}))
        raise ValueError(
            f"{folder}: expected images as {known} alone, got {len(left):,} files as {kinds} too, "
            f"such as {left[0]}, which would be left out. Convert them, or move them elsewhere."
        )
    return kept


def _check_sizes(folder, files):
    """Raises where pictures, one by one or all together, would fill the memory once decoded.

    From their headers: many small files grow without end where each by itself may grow.
    """
    total, stored = 0, 0
    for file in files:
        decoder, size = _decoder(file), file.stat().st_size
        with open(file, "rb") as opened:
            pixels = decoder.pixel_count(file, opened.read(decoder.HEADER_SIZE))
        check_expansion(file, pixels, size)
        total, stored = total + pixels, stored + size
    check_expansion(folder, total, stored)


def _decoder(path):
    return _DECODERS[path.suffix.lower()]


def _picture(path, fit):
    """uint8 [H, W] or [H, W, 3], fitted."""
    content = path.read_bytes()
    decoder = _decoder(path)
    # It may be another file by now.
    check_expansion(path, decoder.pixel_count(path, content), len(content))
    return fit.one(decoder.pixels(path, content), path)


def _pictures(files, shape, fit):
    """uint8 [n, H, W] or [n, H, W, 3]."""
    images = [_picture(file, fit) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != shape:
            raise ValueError(
                f"{file}: expected images of one size, {list(shape)} as the first one, got "
                f"{list(image.shape)}. Give a folder of one kind of image, or a size for all of "
                "them (--image_size)."
            )
    return np.stack(images)


def _as_ink(drawings):
    """Black strokes on white, averaged down: uint8 [n, 28, 28], ink = 255."""
    ink = 255.0 - drawings[..., None].astype(np.float32)
    small = tf.image.resize(ink, [_SIDE, _SIDE], method="area")
    return np.rint(small.numpy()[..., 0]).astype(np.uint8)
