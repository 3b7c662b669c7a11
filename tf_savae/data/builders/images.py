"""TFDS builders of image datasets: Omniglot at 28 x 28, and statically binarised MNIST."""

import numpy as np
import tensorflow_datasets as tfds

from tf_savae.data.images.files import read_arrays
from tf_savae.data.images.folders import read_folder
from tf_savae.data.images.image_set import ImageSet

__all__ = ["Omniglot28", "StaticMnist"]

_TFDS_NAMES = {"train": "train", "valid": "validation", "test": "test"}
_OMNIGLOT_TEST = 8_070  # Of 32,460 images, as in the published split.


class _Images(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class of both builders: one feature, uint8 [28, 28, 1]; files in `manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    CITATION = ""
    HOMEPAGE = ""

    def _info(self):
        features = {"image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8)}
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
        )

    def _parts(self, folder):
        """Returns {split: array [N, 28, 28]} from the files in `folder`."""
        raise NotImplementedError

    def _split_generators(self, dl_manager):
        parts = self._parts(dl_manager.manual_dir)
        sets = {split: ImageSet.of(array, split) for split, array in parts.items()}
        return {split: self._generate_examples(images) for split, images in sets.items()}

    def _generate_examples(self, images):
        if images.shape != (28, 28):
            raise ValueError(f"expected images of 28 x 28 pixels, got {images.shape}")
        scale = 1 if images.binary else 255
        for index in range(len(images)):
            levels = np.rint(scale * images.probabilities(index))
            yield index, {"image": levels[..., None].astype(np.uint8)}


class StaticMnist(_Images):
    """MNIST with a fixed binarisation (Larochelle & Murray 2011): pixels 0 or 1."""

    HOMEPAGE = "http://proceedings.mlr.press/v15/larochelle11a.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Place binarized_mnist_train.amat, binarized_mnist_valid.amat and binarized_mnist_test.amat in
    manual_dir, or one .npz file with fields train, valid and test ([N, 784], [N, 28, 28], or bits
    packed into [N, 98]).
    """

    def _parts(self, folder):
        parts = _one_npz(folder) or read_folder(folder)
        if set(parts) != set(_TFDS_NAMES):
            raise ValueError(f"{folder}: expected train, valid and test, got {', '.join(parts)}.")
        return {_TFDS_NAMES[part]: array for part, array in parts.items()}


class Omniglot28(_Images):
    """Omniglot (Lake et al. 2015) at 28 x 28, grey: a pixel is the probability of ink times 255.

    Configuration "chardata" has the images and the split of Burda et al. (2016). Configuration
    "area" has the original drawings, area-averaged, with a random test set of the same size drawn
    with a fixed seed.
    """

    HOMEPAGE = "https://github.com/brendenlake/omniglot"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="chardata", description="chardata.mat of Burda et al."),
        tfds.core.BuilderConfig(name="area", description="the original drawings, area-averaged"),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    For omniglot28/chardata place chardata.mat (https://github.com/yburda/iwae) in manual_dir. For
    omniglot28/area place the folders images_background and images_evaluation of the original data
    there, or one .npz file with a field images [32460, 28, 28].
    """

    def _parts(self, folder):
        if self.builder_config.name == "chardata":
            return read_arrays(folder / "chardata.mat")
        images = (_one_npz(folder) or read_folder(folder))["all"]
        test = _OMNIGLOT_TEST if len(images) > 2 * _OMNIGLOT_TEST else len(images) // 4
        order = np.random.default_rng(0).permutation(len(images))
        return {"train": images[np.sort(order[test:])], "test": images[np.sort(order[:test])]}


def _one_npz(folder):
    """Returns the arrays of the folder's .npz file, or None if there is no such file."""
    files = sorted(folder.glob("*.npz"))
    if len(files) > 1:
        raise ValueError(f"{folder}: expected one .npz file, got {[f.name for f in files]}")
    return read_arrays(files[0]) if files else None
