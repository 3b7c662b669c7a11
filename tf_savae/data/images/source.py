"""Load images by name (file, folder or TFDS) and split them into three sets."""

from pathlib import Path

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.data.images.files import read_arrays
from tf_savae.data.images.folders import read_folder
from tf_savae.data.images.image_set import ImageSet
from tf_savae.data.images.tfds import tfds_parts
from tf_savae.data.tfds_source import is_tfds

__all__ = ["load_images", "split_images"]


def load_images(source: PathLike, *, data_dir: PathLike | None = None) -> dict[str, ImageSet]:
    """The images of a source, by its parts.

    Args:
      source: a .npz, .npy, .mat or .amat file, `FILE@FIELD` for one of its fields, a folder of
        images, or `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`.
      data_dir: where TFDS keeps its data; its own default if None.

    Returns:
      {"all": `ImageSet`} where the source does not say how to split it, else some of "train",
      "valid" and "test".

    Raises:
      FileNotFoundError: there is no such file or folder.
      ValueError: it cannot be read, or holds no images of one size with values 0..1 or 0..255.
      TypeError: it holds no numbers.
      ModuleNotFoundError: a .mat file, and scipy is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/images.npy", np.ones([5, 2, 2]))
    ...     parts = load_images(f"{folder}/images.npy")
    >>> {name: len(images) for name, images in parts.items()}
    {'all': 5}
    """
    if is_tfds(source):
        arrays = tfds_parts(str(source), data_dir)
    elif Path(source).is_dir():
        arrays = read_folder(source)
    else:
        arrays = read_arrays(*_path_and_field(str(source)))
    parts = {part: ImageSet.of(array, _name(source, part)) for part, array in arrays.items()}
    _check_one_size(source, parts)
    return parts


def _path_and_field(source):
    path, mark, field = source.rpartition("@")
    if mark and field and not Path(source).exists():
        return path, field
    return source, None


def _name(source, part):
    return str(source) if part == "all" else f"{source} ({part})"


def _check_one_size(source, parts):
    shapes = {part: images.shape for part, images in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{source}: expected parts of one image size, got {shapes}")


def split_images(
    parts: dict[str, ImageSet], *, valid_size: int, test_size: int, seed: int = 0
) -> dict[str, ImageSet]:
    """Training, validation and test images from the parts of a source.

    Parts that the source has stay as they are; the missing ones are drawn at random from its
    training images (or from all of them), and what is left trains.

    Args:
      parts: {"all": images}, or some of "train", "valid", "test", as `load_images` gives them.
      valid_size, test_size: how many images to draw for a missing part.
      seed: decides, with the number of images, which ones.

    Returns:
      {"train": `ImageSet`, "valid": ..., "test": ...}.

    Raises:
      ValueError: there are no images to train on, or too few.

    >>> images = ImageSet.of(np.eye(4).reshape(4, 2, 2), "example")
    >>> parts = split_images({"all": images}, valid_size=1, test_size=1)
    >>> {name: len(part) for name, part in parts.items()}
    {'train': 2, 'valid': 1, 'test': 1}
    """
    pool = parts.get("train", parts.get("all"))
    if pool is None:
        raise ValueError(f"expected images to train on, got only {', '.join(parts) or 'nothing'}")
    sizes = {"test": test_size, "valid": valid_size}
    sizes = {part: size for part, size in sizes.items() if part not in parts}
    _check_sizes(pool, sizes)
    order = np.random.default_rng(seed).permutation(len(pool))
    found = {part: images for part, images in parts.items() if part in ("valid", "test")}
    taken = 0
    for part, size in sizes.items():
        found[part] = pool.select(np.sort(order[taken : taken + size]))
        taken += size
    found["train"] = pool.select(np.sort(order[taken:])) if taken else pool
    return {part: found[part] for part in ("train", "valid", "test")}


def _check_sizes(pool, sizes):
    if any(size < 1 for size in sizes.values()) or sum(sizes.values()) >= len(pool):
        wanted = " and ".join(f"{size:,} for {part}" for part, size in sizes.items())
        raise ValueError(
            f"{pool.source}: expected more than enough images for {wanted}, at least one each, got "
            f"{len(pool):,}. Give other sizes, or files of their own."
        )
