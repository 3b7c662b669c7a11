"""Training on images: `train_and_evaluate_images(config, workdir)`, resumable after kill -9."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tf_savae.core.typing import Nest, PathLike
from tf_savae.data import readable
from tf_savae.tasks.image.config import ImageConfig
from tf_savae.tasks.image.data import load_image_sets
from tf_savae.tasks.image.examples import read_examples, save_images
from tf_savae.tasks.image.model import build_image_model
from tf_savae.tasks.image.saliency import analyze_images
from tf_savae.tasks.image.split import read_image_split
from tf_savae.tasks.image.view import ImageView
from tf_savae.training.distribution import ReadOnlyWorkdir, WorkerGroup
from tf_savae.training.storage.json_files import write_whole
from tf_savae.training.task import Split, Task
from tf_savae.training.trainer import run

__all__ = ["ImageTask", "train_and_evaluate_images"]

_RUN = "run.json"


def train_and_evaluate_images(config: ImageConfig, workdir: PathLike) -> dict[str, Any]:
    """Trains the model of `config` in `workdir`, or resumes its run, and evaluates the test images.

    All inputs are validated before any long computation. A run killed at any time resumes at its
    latest checkpoint when called again, and gives the numbers of an uninterrupted run. A finished
    run is not trained again.

    Args:
      config: `ImageConfig`.
      workdir: path of the run's folder; created if needed.

    Returns:
      The report, a dict as in report.json; nats per image.

    Raises:
      ValueError: the images are invalid, the folder is not writable or contains another run, or
        its run has trained on another number of replicas.
      FileNotFoundError: a file or folder of images does not exist.
    """
    _check_places(config)
    return run(config, workdir, ImageTask())


class ImageTask(Task):
    """The task of binary images, or of grey images, which are binarised again in each epoch."""

    kind, unit, configuration = "image", "image", ImageConfig

    def load(self, config: Any) -> Any:
        return load_image_sets(config)

    def build(self, config: Any, data: Any, workdir: Path) -> keras.Model:
        """Returns the compiled model, after checking the number of replicas against the run."""
        if config.objective.uses_encoder:
            _check_replicas(workdir)
        return build_image_model(config, data)

    def view(self, config: Any, data: Any) -> Any:
        return ImageView(config, data)

    def read_split(self, run: Any, config: Any) -> Split:
        return read_image_split(run, config)

    def read_tags(self, run: Any, split: Split, config: Any) -> Any:
        if config.tags:
            raise ValueError("tags: expected none for a run on images, which have no words.")

    def analyze(
        self, run: Any, split: Split, config: Any, steps: int, tags: Any, folder: Path
    ) -> dict[str, Any]:
        return analyze_images(run, split, config, steps, folder)

    def generation_options(
        self, config: Any, run: Any, files: Sequence[Path] | None
    ) -> dict[str, Any]:
        if not files or len(files) < 2:
            raise ValueError(
                f"output: expected a .png file for a run on images, got {config.output!r}."
            )
        return config.image_options()

    def read_examples(self, config: Any, run: Any) -> Nest:
        return read_examples(config, run)

    def write_generated(
        self, config: Any, run: Any, x: Nest, drawn: Any, labels: Any, files: Any
    ) -> list[str] | Path:
        save_images(config, run, x, drawn, labels, *files)
        return files[0]


def _check_replicas(workdir):
    """Checks the number of replicas of a resumed run, or records that of a new run.

    The encoder's batch normalisation is computed per replica, so the results depend on the number
    of replicas. It is recorded in run.json; earlier versions did not record it. The function is
    called in the strategy's scope, except for a finished run, which is not trained.
    """
    processes = WorkerGroup(tf.distribute.get_strategy())
    folder = ReadOnlyWorkdir(workdir)  # Locked already, or only read.
    if (folder / "report.json").exists():
        return
    record = folder.read_json(_RUN)
    begun = record.get("replicas")
    if begun == processes.size:
        return
    trained = any((folder / "checkpoints").glob("ckpt-*.json"))
    trained = trained or (folder / "history.json").exists()
    if trained and begun is None:
        logging.warning(
            "the run in %s does not record its number of replicas; it resumes with %d, and its "
            "numbers equal those of an uninterrupted run only if that is the same number",
            workdir,
            processes.size,
        )
    elif trained:
        raise ValueError(
            f"strategy: the run in {workdir} was trained on {begun} replicas, and now there are "
            f"{processes.size}. Expected the same number, since batch normalisation in the encoder "
            "uses the statistics of each replica. Use the original --strategy and devices, or "
            "another --workdir; nothing was changed."
        )
    if processes.is_chief:
        write_whole(folder / _RUN, json.dumps({**record, "replicas": processes.size}, indent=2))


def _check_places(config):
    if not config.images:
        raise ValueError(
            "images: expected a file or folder of images, builtin:shapes, tfds:NAME or hf:NAME, "
            "got nothing."
        )
    for name in ("images", "valid_images", "test_images"):
        place = str(getattr(config, name))
        if place and not readable(place):
            raise FileNotFoundError(
                f"{name}: expected a file of images that can be read (.npz, .npy, .mat, .amat; "
                "FILE@FIELD for one of its fields), a folder of .png or .jpg files, "
                f"builtin:shapes, tfds:NAME or hf:NAME, got {place}."
            )
