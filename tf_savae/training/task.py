"""`Task`: the interface of a kind of data (text, images) to training, evaluation and commands."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core.typing import Nest, PathLike
from tf_savae.training.config import RunConfig
from tf_savae.training.storage.workdir import Workdir

__all__ = ["Split", "Task", "check_digest"]


class Split(NamedTuple):
    """The examples of one evaluation."""

    examples: int  # number of examples
    subset: Callable  # n -> tf.data.Dataset of n evenly spaced examples, (x, None, weights [B])
    unit: str  # name of one example
    data: Any = None  # the examples for the methods of the `Task`, such as a TextCorpus

    def dataset(self) -> tf.data.Dataset:
        """Returns the dataset of all examples, as from `subset`."""
        return self.subset(self.examples)


class Task:
    """Base class of kinds of data. A new kind is a subclass, added to `tf_savae.tasks.TASKS`.

    Attributes:
      kind: its name, as recorded in run.json.
      unit: the name of one example.
      configuration: the subclass of `RunConfig` of its runs.
    """

    kind: str
    unit = "example"
    configuration: type[RunConfig]

    def load(self, config: Any) -> Any:
        """Returns the validated data of a run.

        The object has the attributes `valid` and `test`, and the methods steps_per_epoch(),
        stream(seed, start_step), once(part), identity(), facts() and measures(name, nll).
        """
        raise NotImplementedError

    def build(self, config: Any, data: Any, workdir: Path) -> keras.Model:
        """Returns the compiled model, with weights and optimizer slots."""
        raise NotImplementedError

    def save_files(self, folder: Workdir, data: Any) -> None:
        """Writes files that the model needs, such as a vocabulary; by default none."""

    def load_files(self, workdir: Path, identity: dict[str, Any]) -> Any:
        """Reads the files of `save_files`, checks them against the identity; by default None."""

    def check_start(self, source: Any, data: Any, path: PathLike) -> None:
        """Raises ValueError if the run `source` in `path` cannot initialise a run on `data`."""

    def view(self, config: Any, data: Any) -> Any:
        """Returns the view that formats examples, samples and reconstructions for TensorBoard.

        It has the attributes `unit`, `sampling` and `decoding` (options of `generation`), and the
        methods examples(count), samples(x, epoch) and pairs(x, rebuilt, epoch).
        """
        raise NotImplementedError

    def read_split(self, run: Any, config: Any) -> Split:
        """Returns the `Split` of a finished run for `config` (file, split, max_examples)."""
        raise NotImplementedError

    def measures(self, split: Split, name: str, nll: np.ndarray) -> dict[str, float]:
        """Returns quantities of this kind of data, such as perplexities; by default none.

        Args:
          split: the `Split`.
          name: prefix of the names, such as "iw"; may be empty.
          nll: [N], the NLL of each example in nats.
        """
        return {}

    def check_networks(self, run: Any) -> None:
        """Raises an error if saliency cannot be computed for the run's networks."""

    def read_tags(self, run: Any, split: Split, config: Any) -> Any:
        """Reads config.tags and checks it against the split; None if no tags are given."""

    def analyze(
        self, run: Any, split: Split, config: Any, steps: int, tags: Any, folder: Path
    ) -> dict[str, Any]:
        """Computes saliency; returns a JSON-compatible dict and writes figures to `folder`."""
        raise NotImplementedError

    def generation_options(
        self, config: Any, run: Any, files: Sequence[Path] | None
    ) -> dict[str, Any]:
        """Validates a `GenerateConfig` and its output; returns the options of `generation`."""
        raise NotImplementedError

    def read_examples(self, config: Any, run: Any) -> Nest:
        """Reads the examples of config.file that are reconstructed or encoded."""
        raise NotImplementedError

    def write_generated(
        self, config: Any, run: Any, x: Nest, drawn: Any, labels: Any, files: Sequence[Path] | None
    ) -> list[str] | Path:
        """Writes the generated examples; returns the lines or the path of the image file."""
        raise NotImplementedError


def check_digest(run: Any, config: Any, digest: str) -> None:
    """Checks that data are the split of the run that they are declared to be.

    Args:
      run: a `Run`.
      config: object with file and split.
      digest: SHA-256 of the data, as recorded in the run's run.json.

    Raises:
      ValueError: the run has recorded other data for this split.
    """
    known = run.data.get(config.split)
    if config.split == "other" or not isinstance(known, str):
        return
    if known != digest:
        of = [name for name, theirs in run.data.items() if theirs == digest]
        found = f"the run's {of[0]} data" if of else "none of the run's splits"
        raise ValueError(
            f"file: expected the {config.split} data of the run in {run.workdir}, but "
            f"{config.file} contains {found}. Give the right --split or --file, or --split=other "
            "for data that the run was not given."
        )
