"""Decode .jpg files to grey levels or colours, the right way up."""

import struct

import numpy as np
import tensorflow as tf

from tf_savae.data.images.png import orientation

__all__ = ["HEADER_SIZE", "pixel_count", "pixels"]

HEADER_SIZE = -1  # Bytes that `pixel_count` looks at: all, as other data may stand before the size.
_START = b"\xff\xd8"
_FRAMES = {0xC0, 0xC1, 0xC2}  # Baseline, extended and progressive: what TensorFlow decodes.
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}  # Lossless, arithmetic, hierarchical.
_EXIF = b"Exif\x00\x00"


def pixel_count(path, content):
    """Width times height, from the content of a .jpg file.

    Raises:
      ValueError: it is no .jpg file, or one of more than 8 bits or of four channels.
    """
    height, width, _, _ = _header(path, content)
    return height * width


def pixels(path, content):
    """uint8 [H, W], or [H, W, 3] where it has colours, turned as its EXIF data say.

    Raises:
      ValueError: it is damaged.
    """
    _, _, channels, turn = _header(path, content)
    try:
        picture = tf.io.decode_jpeg(content, channels=channels, dct_method="INTEGER_ACCURATE")
    except tf.errors.InvalidArgumentError as error:
        raise _damaged(path) from error
    picture = picture.numpy()
    return _upright(picture[..., 0] if channels == 1 else picture, turn)


def _header(path, content):
    """(height, width, channels, orientation)."""
    place, turn = 2, 1
    if content[:2] != _START:
        raise _damaged(path)
    while place + 9 < len(content) and content[place] == 0xFF:
        kind = content[place + 1]
        if kind == 0xFF:  # A byte of padding.
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
            f"{path}: expected a JPEG picture of 8 bits, grey or in three colours, got one of "
            f"{bits} bits and {channels} channels, or of a kind that is rarely read. Convert it."
        )
    return height, width, channels, turn


def _damaged(path):
    return ValueError(f"{path} is not a whole, valid .jpg image")


def _upright(picture, turn):
    """Turned and mirrored as the EXIF tag says (1 to 8)."""
    if turn in (5, 6, 7, 8):
        picture = np.swapaxes(picture, 0, 1)
    if turn in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if turn in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
