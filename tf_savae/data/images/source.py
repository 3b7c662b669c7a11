"""Loads images from files, folders and named datasets, and splits them into three sets."""

from pathlib import Path

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.data.builtin.load import builtin_images
from tf_savae.data.hf_source import is_hf
from tf_savae.data.images.files import read_arrays
from tf_savae.data.images.fit import AS_THEY_ARE, Fit, as_fit
from tf_savae.data.images.folders import read_folder
from tf_savae.data.images.hf import hf_parts
from tf_savae.data.images.image_set import ImageSet
from tf_savae.data.images.tfds import tfds_parts
from tf_savae.data.sources import check_data_dir, is_builtin, path_and_field
from tf_savae.data.tfds_source import is_tfds

__all__ = ["load_images", "load_pictures", "split_images"]


def load_images(
    source: PathLike,
    *,
    data_dir: PathLike | None = None,
    size: int | None = None,
    grey: bool = False,
) -> dict[str, ImageSet]:
    """Loads the images of a source by part.

    Args:
      source: a .npz, .npy, .mat or .amat file, `FILE@FIELD` for one of its fields, a folder of
        .png or .jpg images, `builtin:shapes[:PART]`, which ships with the package,
        `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]`, or `hf:NAME[,CONFIG][:SPLIT][@COLUMN]`.
      data_dir: folder of the data of TFDS, for a tfds: source; the default of TFDS if None.
      size: side in pixels to which the central square of each image is resized by area averaging.
        None: images are not resized, and must all have the same size.
      grey: convert colours to grey levels; otherwise colours raise an error.

    Returns:
      {"all": `ImageSet`} if the source does not define a split, else some of "train", "valid" and
      "test".

    Raises:
      FileNotFoundError: there is no such file or folder.
      ValueError: the source cannot be read, or does not contain images of one size with values
        0..1 or 0..255.
      TypeError: the source does not contain numbers.
      ModuleNotFoundError: scipy (for a .mat file) or datasets (for an hf: name) is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/images.npy", np.ones([5, 2, 2]))
    ...     parts = load_images(f"{folder}/images.npy")
    >>> {name: len(images) for name, images in parts.items()}
    {'all': 5}
    """
    arrays = _arrays(source, data_dir, as_fit(size, grey))
    parts = {part: ImageSet.of(array, _name(source, part)) for part, array in arrays.items()}
    _check_one_size(source, parts)
    return parts


def load_pictures(
    source: PathLike, *, size: int | None = None, data_dir: PathLike | None = None
) -> dict[str, np.ndarray]:
    """Loads colour images [N, H, W, 3] by part; grey images are repeated over the channels.

    These are for custom models, such as those of `tf_savae.presets.image`; the models of `bin/`
    take grey or binary images. Arguments, parts and errors are those of `load_images`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/images.npy", np.zeros([5, 8, 6, 3], np.uint8))
    ...     parts = load_pictures(f"{folder}/images.npy", size=4)
    >>> {name: images.shape for name, images in parts.items()}
    {'all': (5, 4, 4, 3)}
    """
    return _arrays(source, data_dir, Fit(as_fit(size, False).size, "keep"))


def _arrays(source, data_dir, fit):
    """Returns preprocessed arrays {part: [N, ...]}."""
    check_data_dir(source, data_dir)
    if is_tfds(source):
        return tfds_parts(str(source), data_dir, fit)
    if is_hf(source):
        return hf_parts(str(source), fit)
    if is_builtin(source):
        arrays = builtin_images(str(source))
    elif Path(source).is_dir():
        return read_folder(source, fit)
    else:
        arrays = read_arrays(*path_and_field(source))
    if fit == AS_THEY_ARE:
        return arrays
    return {part: fit.many(array, _name(source, part)) for part, array in arrays.items()}


def _name(source, part):
    return str(source) if part == "all" else f"{source} ({part})"


def _check_one_size(source, parts):
    shapes = {part: images.shape for part, images in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{source}: expected splits with one image size, got {shapes}.")


def split_images(
    parts: dict[str, ImageSet], *, valid_size: int, test_size: int, seed: int = 0
) -> dict[str, ImageSet]:
    """Returns training, validation and test images from the parts of a source.

    Existing validation and test parts are unchanged. Missing ones are drawn at random from the
    training images (or from "all"); the remaining images are the training set.

    Args:
      parts: {"all": images}, or some of "train", "valid", "test", as returned by `load_images`.
      valid_size, test_size: number of images to draw for a missing part.
      seed: the drawn indices depend on the seed and the number of images.

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
            f"{pool.source}: expected enough images for {wanted}, at least one each, and for "
            f"training, got {len(pool):,}. Use other sizes, or separate files."
        )
