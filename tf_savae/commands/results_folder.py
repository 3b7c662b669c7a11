"""Create new folders for results without overwriting existing ones."""

import itertools
import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_savae.core.typing import PathLike
from tf_savae.training.storage.json_files import write_whole

__all__ = ["Output"]


class Output:
    """A new folder for the files of one evaluation.

    Args:
      workdir: the run's folder.
      name: name of the new folder in `workdir`; -2, -3, ... is appended if the name is taken.
      path: path of the folder, instead of a folder in `workdir`; it must be new or empty.

    Raises:
      ValueError: the folder is not empty or cannot be created.
    """

    def __init__(self, workdir: PathLike, name: str, path: PathLike | None = None) -> None:
        try:
            self.path = _given(Path(path)) if path else _numbered(Path(workdir), name)
        except OSError as error:
            raise ValueError(
                f"output: expected a folder that can be created in {path or workdir}, got "
                f"{type(error).__name__}: {error.strerror}. Give another --output."
            ) from error

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        write_whole(self.path / name, json.dumps(value, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file atomically."""
        write_whole(self.path / name, text)

    def write_tensorboard(self, scalars: dict[str, float]) -> None:
        """Writes the scalars and every PNG file of the folder as TensorBoard files."""
        writer = tf.summary.create_file_writer(str(self.path / "tensorboard"))
        with writer.as_default(step=0):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for file in sorted(self.path.glob("*.png")):
                picture = tf.io.decode_png(file.read_bytes(), channels=3)
                tf.summary.image(file.stem, picture[None])
        writer.close()


def _given(path):
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"output {path}: expected a new or empty folder, got one that contains files. Nothing "
            "was changed; give another --output."
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _numbered(workdir, name):
    """Creates the first folder of name, name-2, name-3, ... that does not exist."""
    for number in itertools.count(1):
        path = workdir / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
