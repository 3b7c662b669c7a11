"""Decodes .png files to grey levels or colours, and rejects files it cannot represent."""

import struct

import numpy as np
import tensorflow as tf

from tf_savae.core.typing import PathLike

__all__ = ["HEADER_SIZE", "orientation", "pixel_count", "pixels"]

_BEFORE_SIZE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER = struct.Struct(f">{len(_BEFORE_SIZE)}sIIB")  # Prefix, width, height, bits per channel.
_CHUNK = struct.Struct(">I4s")  # Length and type; a 4-byte checksum follows the content.
_ORIENTATION = 0x0112  # The EXIF tag; 1 is upright.

HEADER_SIZE = _HEADER.size  # Bytes that `pixel_count` needs.


def pixel_count(path: PathLike, content: bytes) -> int:
    """Returns width times height, from the start of a .png file.

    Raises:
      ValueError: it is not a .png file, or it has 16 bits per channel.
    """
    try:
        before, width, height, bits = _HEADER.unpack_from(content)
    except struct.error:
        before, width, height, bits = b"", 0, 0, 0
    # decode_png also accepts other formats, which store their size elsewhere.
    if before != _BEFORE_SIZE:
        raise ValueError(f"{path} is not a complete, valid .png image")
    if bits > 8:
        raise ValueError(
            f"{path}: expected at most 8 bits per channel, got {bits}, of which the lower half "
            "would be lost. Convert it to 8 bits first."
        )
    return width * height


def pixels(path: PathLike, content: bytes) -> np.ndarray:
    """Returns the pixels of a whole .png file, uint8 [H, W] or, with colours, [H, W, 3].

    Raises:
      ValueError: the file is damaged, transparent or animated, or its EXIF data rotate it.
    """
    chunks = _checked_chunks(path, content)
    try:
        picture = tf.io.decode_png(content, channels=_channels(content, chunks)).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path} is not a complete, valid .png image") from error
    *levels, alpha = np.moveaxis(picture, 2, 0)
    if picture.shape[2] % 2:
        levels, alpha = [*levels, alpha], np.full_like(alpha, 255)
    clear = int(np.count_nonzero(alpha < 255))
    if clear:
        raise ValueError(
            f"{path}: expected opaque pixels, got {clear:,} transparent ones of {alpha.size:,}, "
            "whose grey level depends on the background. Flatten the image onto its background "
            "first."
        )
    if any(np.any(levels[0] != other) for other in levels[1:]):
        return np.stack(levels, axis=2)
    return np.ascontiguousarray(levels[0])


def _channels(content, chunks):
    """Returns the `channels` argument of `decode_png`; 0 means those in the file."""
    colour = content[_HEADER.size]
    if colour in (0, 2) and b"tRNS" in chunks:  # One level or colour is transparent.
        return 4
    return 1 if colour == 0 else 0


def _checked_chunks(path, content):
    """Returns the chunk types of a file; raises an error for animation or rotation."""
    place, kinds = 8, set()
    while place + _CHUNK.size <= len(content):
        length, kind = _CHUNK.unpack_from(content, place)
        start = place + _CHUNK.size
        kinds.add(kind)
        if kind == b"acTL":
            raise ValueError(f"{path}: expected a single image, got an animation. Save its frames.")
        if kind == b"eXIf" and orientation(content[start : start + length]) != 1:
            raise ValueError(
                f"{path}: expected pixels in display orientation, got an image whose EXIF data "
                "rotate or mirror it. Apply the rotation to the pixels and remove the EXIF "
                "orientation."
            )
        place = start + length + 4
    return kinds


def orientation(exif: bytes) -> int:
    """Returns the orientation in EXIF data; 1 if it is missing or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION and kind == 3:  # A 16-bit number.
                return struct.unpack_from(f"{order}H", exif, entry + 8)[0]
    except struct.error:
        pass
    return 1
