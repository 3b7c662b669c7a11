"""Decodes .jpg files to grey levels or colours, and applies their EXIF orientation."""

import struct

import numpy as np
import tensorflow as tf

from tf_savae.core.typing import PathLike
from tf_savae.data.images.png import orientation

__all__ = ["HEADER_SIZE", "pixel_count", "pixels"]

HEADER_SIZE = -1  # Bytes that `pixel_count` needs: all, since other data may precede the size.
_START = b"\xff\xd8"
_FRAMES = {0xC0, 0xC1, 0xC2}  # Baseline, extended and progressive, which TensorFlow decodes.
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}  # Lossless, arithmetic, hierarchical.
_EXIF = b"Exif\x00\x00"


def pixel_count(path: PathLike, content: bytes) -> int:
    """Returns width times height, from the content of a .jpg file.

    Raises:
      ValueError: it is not a .jpg file, or it has more than 8 bits per channel or four channels.
    """
    height, width, _, _ = _header(path, content)
    return height * width


def pixels(path: PathLike, content: bytes) -> np.ndarray:
    """Returns the pixels, uint8 [H, W] or, with colours, [H, W, 3], oriented as in the EXIF data.

    Raises:
      ValueError: the file is damaged.
    """
    _, _, channels, turn = _header(path, content)
    try:
        picture = tf.io.decode_jpeg(content, channels=channels, dct_method="INTEGER_ACCURATE")
    except tf.errors.InvalidArgumentError as error:
        raise _damaged(path) from error
    picture = picture.numpy()
    return _upright(picture[..., 0] if channels == 1 else picture, turn)


def _header(path, content):
    """Returns (height, width, channels, orientation)."""
    place, turn = 2, 1
    if content[:2] != _START:
        raise _damaged(path)
    while place + 9 < len(content) and content[place] == 0xFF:
        kind = content[place + 1]
        if kind == 0xFF:  # A padding byte.
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        body = content[place + 4 : place + 2 + length]
        if kind == 0xE1 and body.startswith(_EXIF):
            turn = orientation(body[len(_EXIF) :])
        if kind in _FRAMES | _OTHER_FRAMES:
            return _frame(path, kind, body, turn)
        place += 2 + max(length, 2)
    raise _damaged(path)


def _frame(path, kind, body, turn):
    if len(body) < 6:
        raise _damaged(path)
    bits, height, width, channels = struct.unpack_from(">BHHB", body)
    if kind not in _FRAMES or bits != 8 or channels not in (1, 3) or not height or not width:
        raise ValueError(
            f"{path}: expected an 8-bit JPEG image, greyscale or RGB, got one with {bits} bits and "
            f"{channels} channels, or in a rare format. Convert it."
        )
    return height, width, channels, turn


def _damaged(path):
    return ValueError(f"{path} is not a complete, valid .jpg image")


def _upright(picture, turn):
    """Rotates and mirrors an image by its EXIF orientation (1 to 8)."""
    if turn in (5, 6, 7, 8):
        picture = np.swapaxes(picture, 0, 1)
    if turn in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if turn in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
