"""Reads folders of images: .png and .jpg files, Omniglot, and binarised MNIST as text files."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_savae.core.typing import PathLike
from tf_savae.data.images import jpeg, png
from tf_savae.data.images.files import read_arrays
from tf_savae.data.images.fit import AS_THEY_ARE, Fit
from tf_savae.data.limits import check_expansion

__all__ = ["read_folder"]

_DECODERS = {".jpeg": jpeg, ".jpg": jpeg, ".png": png}

# Suffixes of other image formats; such files raise an error instead of being ignored.
_OTHERS = set(
    ".jpe .jfif .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .pnm .heic .avif .svg .tga "
    ".ico .jp2 .npz .npy .mat .amat".split()
)
_SIDE = 28
_CHUNK = 500  # 105 x 105 images converted at a time
_MNIST = {part: f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")}
_OMNIGLOT = ("images_background", "images_evaluation")


def read_folder(path: PathLike, fit: Fit = AS_THEY_ARE) -> dict[str, np.ndarray]:
    """Returns the images of a folder as {"train", "valid", "test"} or {"all"}.

    The arrays have shape [N, H, W] or [N, H, W, 3]. The folder contains either the three files
    binarized_mnist_{train,valid,test}.amat, or .png and .jpg files, also in subfolders, which are
    read in the order of their paths. These images must be opaque and have at most 8 bits per
    channel. The 105 x 105 drawings of Omniglot (images_background and images_evaluation, Lake et
    al. 2015) are area-averaged to 28 x 28, with ink = 255.

    Args:
      path: path of the folder.
      fit: the `Fit` applied to each image.

    Raises:
      ValueError: the folder contains neither; it also contains other image formats; the images
        have different sizes after preprocessing; or a file is transparent, has 16 bits per channel
        or would exhaust the memory.
    """
    path = Path(path)
    present = {part: path / name for part, name in _MNIST.items() if (path / name).exists()}
    if present:
        missing = sorted(set(_MNIST) - set(present))
        if missing:
            raise ValueError(
                f"{path}: expected the files {', '.join(_MNIST.values())}, but "
                f"{', '.join(missing)} are missing."
            )
        _files(path, {".amat"})
        return {p: fit.many(read_arrays(file)["all"], file) for p, file in present.items()}
    files = _files(path, set(_DECODERS))
    if not files:
        raise ValueError(
            f"{path}: expected .png or .jpg images in this folder or its subfolders "
            f"({' and '.join(_OMNIGLOT)} for Omniglot), or {', '.join(_MNIST.values())}; got "
            "neither."
        )
    _check_sizes(path, files)
    drawings = any(name in files[0].relative_to(path.parent).parts for name in _OMNIGLOT)
    ink = drawings and fit.size is None and fit.colours != "keep"
    prepared = _as_ink if ink else np.asarray
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    shape = _picture(files[0], fit).shape
    return {"all": np.concatenate([prepared(_pictures(chunk, shape, fit)) for chunk in chunks])}


def _files(folder, suffixes):
    """Returns the files in a folder and its subfolders with the given suffixes, in any case."""
    # macOS stores metadata in files whose names begin with "._".
    files = [file for file in sorted(folder.rglob("*")) if not file.name.startswith("._")]
    kept = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
    others = (set(_DECODERS) | _OTHERS) - suffixes
    left = [file for file in files if file.suffix.lower() in others and file.is_file()]
    if left:
        kinds = ", ".join(sorted({file.suffix for file in left}))
        known = " or ".join(sorted(suffixes - {".jpeg"}))
        raise ValueError(
            f"{folder}: expected only {known} images, got also {len(left):,} files of type "
            f"{kinds}, such as {left[0]}, which would be ignored. Convert them, or move them "
            "elsewhere."
        )
    return kept


def _check_sizes(folder, files):
    """Raises an error if the decoded images would exhaust the memory, individually or in total.

    The sizes are read from the headers. The total is also checked, since many small files can
    expand without limit even if each is within its own limit.
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
    """Returns one preprocessed image, uint8 [H, W] or [H, W, 3]."""
    content = path.read_bytes()
    decoder = _decoder(path)
    # The file may have been replaced since the first check.
    check_expansion(path, decoder.pixel_count(path, content), len(content))
    return fit.one(decoder.pixels(path, content), path)


def _pictures(files, shape, fit):
    """Returns preprocessed images, uint8 [n, H, W] or [n, H, W, 3]."""
    images = [_picture(file, fit) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != shape:
            raise ValueError(
                f"{file}: expected images of one size, {list(shape)} as the first one, got "
                f"{list(image.shape)}. Use a folder of images of one size, or resize all of them "
                "(--image_size)."
            )
    return np.stack(images)


def _as_ink(drawings):
    """Area-averages black strokes on white to uint8 [n, 28, 28] with ink = 255."""
    ink = 255.0 - drawings[..., None].astype(np.float32)
    small = tf.image.resize(ink, [_SIDE, _SIDE], method="area")
    return np.rint(small.numpy()[..., 0]).astype(np.uint8)
