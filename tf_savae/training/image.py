"""Training on images: `train_and_evaluate_images(config, workdir)`, resumable after kill -9."""

import os

from tf_savae.training.image_data import load_image_sets
from tf_savae.training.image_model import build_image_model
from tf_savae.training.run import Task, run

__all__ = ["train_and_evaluate_images"]


def train_and_evaluate_images(config, workdir):
    """Trains what `config` says in `workdir`, or resumes it, and reports on the test images.

    Everything that can be wrong with the input is found before any long work. A run killed at
    any moment continues at its latest checkpoint when called again, and ends with the numbers of
    an uninterrupted one. A finished run is not trained again.

    Args:
      config: `ImageConfig`.
      workdir: path of the run's folder; made if needed.

    Returns:
      The report, a dict as in report.json; nats per image.

    Raises:
      ValueError: the images cannot be used, or the folder cannot be written or holds another run.
      FileNotFoundError: a file or folder of images is missing.
    """
    _check_places(config)
    return run(config, workdir, Task(load_image_sets, build_image_model))


def _check_places(config):
    if not config.images:
        raise ValueError("images: expected a file or folder of images or tfds:NAME, got nothing.")
    for name in ("images", "valid_images", "test_images"):
        place = str(getattr(config, name))
        if not place or place.startswith("tfds:") or os.access(place, os.R_OK):
            continue
        if not os.access(place.rpartition("@")[0], os.R_OK):
            raise FileNotFoundError(
                f"{name}: expected a file of images that can be read (.npz, .npy, .mat, .amat; "
                f"FILE@FIELD for one of its fields), a folder or tfds:NAME, got {place}."
            )
