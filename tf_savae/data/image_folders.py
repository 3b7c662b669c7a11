"""Folders of images: Omniglot as published, and binarised MNIST as text files."""

import struct
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_savae.data.image_files import read_arrays
from tf_savae.data.limits import check_expansion

__all__ = ["read_folder"]

_BEFORE_SIZE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER = struct.Struct(f">{len(_BEFORE_SIZE)}sII")  # and width and height
_SIDE = 28
_CHUNK = 500  # pictures of 105 x 105 held at a time
_MNIST = {part: f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")}
_OMNIGLOT = ("images_background", "images_evaluation")


def read_folder(path):
    """The images of a folder: {"train", "valid", "test"} or {"all"}, each [N, H, W].

    Either the three files binarized_mnist_{train,valid,test}.amat, or the .png files in it and
    below it, in the order of their paths. Omniglot's 105 x 105 drawings (images_background and
    images_evaluation, Lake et al. 2015) are averaged over areas down to 28 x 28, ink = 255.

    Raises:
      ValueError: the folder has neither, or images of several sizes, or .png files that would
        fill the memory.
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
        return {part: read_arrays(file)["all"] for part, file in present.items()}
    files = sorted(path.rglob("*.png"))
    if not files:
        raise ValueError(
            f"{path}: expected .png images in it or below it ({' and '.join(_OMNIGLOT)} for "
            f"Omniglot), or {', '.join(_MNIST.values())}; found neither"
        )
    _check_sizes(path, files)
    drawings = any(name in files[0].relative_to(path.parent).parts for name in _OMNIGLOT)
    prepared = _as_ink if drawings else np.asarray
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    shape = _picture(files[0]).shape
    return {"all": np.concatenate([prepared(_pictures(chunk, shape)) for chunk in chunks])}


def _check_sizes(folder, files):
    """Raises where pictures, one by one or all together, would fill the memory once decoded.

    From their headers alone: many small files grow without end where each by itself may grow.
    """
    total, stored = 0, 0
    for file in files:
        with open(file, "rb") as opened:
            pixels = _pixels(file, opened.read(_HEADER.size))
        size = file.stat().st_size
        check_expansion(file, pixels, size)
        total, stored = total + pixels, stored + size
    check_expansion(folder, total, stored)


def _pixels(path, content):
    """Width times height, from the start of a .png file."""
    try:
        before, width, height = _HEADER.unpack_from(content)
    except struct.error:
        before, width, height = b"", 0, 0
    # TensorFlow also decodes other formats by that name, whose size stands elsewhere.
    if before != _BEFORE_SIZE:
        raise ValueError(f"{path} is not a whole, valid .png image")
    return width * height


def _picture(path):
    """uint8 [H, W]."""
    content = path.read_bytes()
    check_expansion(path, _pixels(path, content), len(content))  # It may be another file by now.
    try:
        return tf.io.decode_png(content, channels=1).numpy()[..., 0]
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path} is not a whole, valid .png image") from error


def _pictures(files, shape):
    """uint8 [n, H, W]."""
    images = [_picture(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != shape:
            raise ValueError(
                f"{file}: expected images of one size, {list(shape)} as the first one, got "
                f"{list(image.shape)}. Give a folder of one kind of image."
            )
    return np.stack(images)


def _as_ink(drawings):
    """Black strokes on white, averaged down: uint8 [n, 28, 28], ink = 255."""
    ink = 255.0 - drawings[..., None].astype(np.float32)
    small = tf.image.resize(ink, [_SIDE, _SIDE], method="area")
    return np.rint(small.numpy()[..., 0]).astype(np.uint8)
