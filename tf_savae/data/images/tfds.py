"""Reads images from TensorFlow Datasets, including the builders of this package."""

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.data.images.fit import AS_THEY_ARE, Fit
from tf_savae.data.tfds_source import PREFIX, cause, find_builder, flat, parse, select

__all__ = ["tfds_parts"]

_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def tfds_parts(
    source: str, data_dir: PathLike | None = None, fit: Fit = AS_THEY_ARE
) -> dict[str, np.ndarray]:
    """Returns the images of `tfds:NAME[/CONFIG][:VERSION][:SPLIT][@FIELD]` by part, [N, H, W, C].

    Without SPLIT, the parts are those of the dataset's splits train, validation and test that
    exist. FIELD defaults to the feature "image" or to the only image feature. The dataset is
    downloaded and prepared if necessary. `fit` is the `Fit` applied to each image.

    Raises:
      ValueError: the name is malformed, TFDS does not have the dataset or cannot download it, it
        has no such split or image feature, or its images have different sizes.
    """
    name, split, field = parse(source, f"{PREFIX}mnist:train")
    builder = _prepared(name, data_dir)
    field = _image_field(name, builder.info.features, field)
    if split:
        return {"all": _images(builder, split, field, fit)}
    splits = {part: split for part, split in _SPLITS.items() if split in builder.info.splits}
    if "train" not in splits:
        raise ValueError(
            f"the TFDS dataset {name!r} has no split train: select one of "
            f"{', '.join(builder.info.splits)}, as in {PREFIX}{name}:SPLIT"
        )
    return {part: _images(builder, split, field, fit) for part, split in splits.items()}


def _prepared(name, data_dir):
    import tf_savae.data.builders  # noqa: F401 Registers the package's builders.

    builder = find_builder(name, data_dir, "a file of images")
    try:
        builder.download_and_prepare()
    except Exception as error:  # Network, disk, checksum or other.
        raise ValueError(
            f"the TFDS dataset {name!r} could not be prepared ({cause(error)}); check the network "
            "connection, or use a file of images instead"
        ) from error
    return builder


def _image_field(name, features, wanted):
    leaves = dict(flat(features))
    fields = sorted(field for field, feature in leaves.items() if _is_image(feature))
    if wanted is not None and wanted in fields:
        return wanted
    if wanted is None and ("image" in fields or len(fields) == 1):
        return "image" if "image" in fields else fields[0]
    missing = f"no image feature {wanted!r}" if wanted else "no feature named image"
    raise ValueError(
        f"the TFDS dataset {name!r} has {missing}: images are {', '.join(fields) or 'none'} of its "
        f"features {', '.join(sorted(leaves))}; select one, as in {PREFIX}{name}@FIELD"
    )


def _is_image(feature):
    numbers = np.dtype(feature.np_dtype).kind in "biuf"
    return numbers and feature.shape is not None and len(feature.shape) in (2, 3)


def _images(builder, split, field, fit):
    name = builder.info.full_name

    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False)
        images = list(select(dataset, field))
    except Exception as error:  # An unknown split, or files damaged after preparation.
        raise ValueError(
            f"split {split!r} of the TFDS dataset {name!r} could not be read ({cause(error)}); its "
            f"splits are {', '.join(builder.info.splits)}"
        ) from error
    if fit != AS_THEY_ARE:
        images = [fit.one(image, name) for image in images]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"the TFDS dataset {name!r}: expected images of one size, got {shapes[0]} to "
            f"{shapes[-1]}. Resize all of them (--image_size)."
        )
    return np.stack(images) if images else np.zeros([0, 1, 1])
