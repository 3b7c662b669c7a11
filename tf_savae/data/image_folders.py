"""Folders of images: Omniglot as published, and binarised MNIST as text files."""

import struct
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_savae.data.image_files import read_arrays
from tf_savae.data.limits import check_expansion

__all__ = ["read_folder"]

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
      ValueError: the folder has neither, or images of several sizes.
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
    drawings = any(name in files[0].relative_to(path.parent).parts for name in _OMNIGLOT)
    prepared = _as_ink if drawings else np.asarray
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    shape = _picture(files[0]).shape
    return {"all": np.concatenate([prepared(_pictures(chunk, shape)) for chunk in chunks])}


def _picture(path):
    """uint8 [H, W]."""
    try:
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        check_expansion(path, width * height, len(content))
        return tf.io.decode_png(content, channels=1).numpy()[..., 0]
    except (tf.errors.InvalidArgumentError, struct.error) as error:
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
