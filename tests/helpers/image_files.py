"""Tiny files of images in every form that is read, written by the tests themselves."""

import numpy as np
import tensorflow as tf


def grey(count, side=4, seed=0):
    """uint8 images [count, side, side] with values 0..255."""
    return np.random.default_rng(seed).integers(256, size=(count, side, side), dtype=np.uint8)


def bits(count, side=4, seed=0):
    """uint8 images of zeros and ones."""
    return np.random.default_rng(seed).integers(2, size=(count, side, side), dtype=np.uint8)


def write_amat(folder, counts=(5, 3, 4), side=4):
    """binarized_mnist_{train,valid,test}.amat; returns the images by part."""
    parts = {}
    for number, (part, count) in enumerate(zip(("train", "valid", "test"), counts, strict=True)):
        parts[part] = bits(count, side, number)
        lines = [" ".join(map(str, image.ravel())) for image in parts[part]]
        (folder / f"binarized_mnist_{part}.amat").write_text("\n".join(lines) + "\n")
    return parts


def write_drawings(folder, count=4, seed=0):
    """Omniglot's layout: 105 x 105 .png files, black (0) strokes on white; returns them."""
    rng = np.random.default_rng(seed)
    drawings = np.where(rng.random((count, 105, 105)) < 0.1, 0, 255).astype(np.uint8)
    for number, drawing in enumerate(drawings):
        kind = "images_background" if number < count // 2 else "images_evaluation"
        place = folder / kind / "Alphabet" / f"character{number:02}"
        place.mkdir(parents=True)
        png = tf.io.encode_png(drawing[..., None]).numpy()
        (place / f"{number:04}_01.png").write_bytes(png)
    return drawings


def write_npz(path, **fields):
    np.savez(path, **fields)
    return path
