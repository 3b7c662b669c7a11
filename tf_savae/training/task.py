"""`Task`: what one kind of data (text, images) brings to training, evaluation and the commands."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tf_savae.core.typing import Nest, PathLike
from tf_savae.training.config import RunConfig
from tf_savae.training.storage.workdir import Workdir

__all__ = ["Split", "Task", "check_digest"]


class Split(NamedTuple):
    """The examples of one evaluation."""

    examples: int
    some: Callable  # n -> tf.data.Dataset of n of them as (x, None, weights [B]); see `data.spread`
    unit: str  # what one example is called
    corpus: Any = None  # the TextCorpus, whose perplexity counts; None where there is none

    def dataset(self) -> tf.data.Dataset:
        """All examples, as `some`."""
        return self.some(self.examples)


class Task:
    """One kind of data. A third kind is one subclass, added to `tf_savae.tasks.TASKS`.

    Attributes:
      kind: its name, as run.json keeps it.
      unit: what one example is called.
      configuration: the subclass of `RunConfig` that its runs have.
    """

    kind: str
    unit = "example"
    configuration: type[RunConfig]

    def load(self, config: Any) -> Any:
        """The data of a run, checked.

        They have the parts `valid` and `test`, and the methods steps_per_epoch(),
        stream(seed, start_step), once(part), identity(), facts() and measures(name, nll).
        """
        raise NotImplementedError

    def build(self, config: Any, data: Any, workdir: Path) -> keras.Model:
        """The compiled model, with weights and optimizer slots."""
        raise NotImplementedError

    def keep(self, folder: Workdir, data: Any) -> None:
        """Writes what the model needs beside it; nothing by default."""

    def kept(self, workdir: Path, identity: dict[str, Any]) -> Any:
        """What `keep` wrote, checked against the run's identity; None by default."""

    def check_start(self, source: Any, data: Any, path: PathLike) -> None:
        """Raises ValueError where the run `source` in `path` cannot begin one on `data`."""

    def view(self, config: Any, data: Any) -> Any:
        """How TensorBoard shows examples, samples and reconstructions.

        It has `unit`, `sampling` and `decoding` (options of `generation`), examples(count),
        samples(x, epoch) and pairs(x, rebuilt, epoch).
        """
        raise NotImplementedError

    def read_split(self, run: Any, config: Any) -> Split:
        """The `Split` of a finished run that `config` (file, split, max_examples) names."""
        raise NotImplementedError

    def check_networks(self, run: Any) -> None:
        """Raises where saliency cannot be computed for the run's networks."""

    def read_tags(self, run: Any, split: Split, config: Any) -> Any:
        """What config.tags names, checked against the split; None where nothing is given."""

    def analyze(
        self, run: Any, split: Split, config: Any, steps: int, tags: Any, folder: Path
    ) -> dict[str, Any]:
        """Saliency as a JSON-able dict; writes its pictures to `folder`."""
        raise NotImplementedError

    def generation_options(
        self, config: Any, run: Any, files: Sequence[Path] | None
    ) -> dict[str, Any]:
        """Options of `generation` for a `GenerateConfig`, once it and the output are checked."""
        raise NotImplementedError

    def read_examples(self, config: Any, run: Any) -> Nest:
        """The examples of config.file that are reconstructed or whose codes are used."""
        raise NotImplementedError

    def write_generated(
        self, config: Any, run: Any, x: Nest, drawn: Any, labels: Any, files: Sequence[Path] | None
    ) -> list[str] | Path:
        """Writes what was drawn; returns the lines or the path of the picture."""
        raise NotImplementedError


def check_digest(run: Any, config: Any, digest: str) -> None:
    """Refuses data that are not the split they are said to be.

    Args:
      run: a `Run`.
      config: with file and split.
      digest: SHA-256 of the data, as the run's run.json keeps it.

    Raises:
      ValueError: the run knows other data by that name.
    """
    known = run.data.get(config.split)
    if config.split == "other" or not isinstance(known, str):
        return
    if known != digest:
        of = [name for name, theirs in run.data.items() if theirs == digest]
        found = f"the run's {of[0]} data" if of else "none of the run's splits"
        raise ValueError(
            f"file: expected the {config.split} data that the run in {run.workdir} knows, but "
            f"{config.file} holds {found}. Give the right --split or --file, or --split=other for "
            "data that the run does not know."
        )
