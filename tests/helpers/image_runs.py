"""Toy images and toy runs for the tests of image training."""

import dataclasses

import image_files

from tf_savae.tasks.image.config import IMAGE_CONFIGS


def write_images(folder, counts=(60, 12, 12), side=6, seed=0):
    """images.npz in `folder`, grey, with train, valid and test."""
    names = ("train", "valid", "test")
    arrays = {
        name: image_files.grey(count, side, [seed, number])
        for number, (name, count) in enumerate(zip(names, counts, strict=True))
    }
    image_files.write_npz(folder / "images.npz", **arrays)
    return folder


def settings(folder, **changes):
    """The fields that make the "tiny" configuration a run of seconds on images in `folder`.

    Without samples for TensorBoard, whose tracing takes longer than the run: tests of them ask.
    """
    places = {"images": str(folder / "images.npz")}
    return {"jit_compile": "false", "board_samples": 0, **places, **changes}


def config(folder, **changes):
    """The `ImageConfig` of `settings`."""
    return dataclasses.replace(IMAGE_CONFIGS["tiny"](), **settings(folder, **changes))
