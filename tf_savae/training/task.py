"""`Task`: what one kind of data (text, images) brings to training, evaluation and the commands."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Split", "Task", "check_digest"]


class Split(NamedTuple):
    """The examples of one evaluation."""

    examples: int
    some: Callable  # n -> tf.data.Dataset of n of them as (x, None, weights [B]); see `data.spread`
    unit: str  # what one example is called
    corpus: Any = None  # the TextCorpus, whose perplexity counts; None where there is none

    def dataset(self):
        """All examples, as `some`."""
        return self.some(self.examples)


class Task:
    """One kind of data. A third kind is one subclass, added to `tf_savae.tasks.TASKS`.

    Attributes:
      kind: its name, as run.json keeps it.
      unit: what one example is called.
      configuration: the subclass of `RunConfig` that its runs have.
    """

    kind, unit, configuration = None, "example", None

    def load(self, config):
        """The data of a run, checked.

        They have the parts `valid` and `test`, and the methods steps_per_epoch(),
        stream(seed, start_step), once(part), identity(), facts() and measures(name, nll).
        """
        raise NotImplementedError

    def build(self, config, data, workdir):
        """The compiled model, with weights and optimizer slots."""
        raise NotImplementedError

    def keep(self, folder, data):
        """Writes what the model needs beside it; nothing by default."""

    def kept(self, workdir, identity):
        """What `keep` wrote, checked against the run's identity; None by default."""

    def check_start(self, source, data, path):
        """Raises ValueError where the run `source` in `path` cannot begin one on `data`."""

    def view(self, config, data):
        """How TensorBoard shows examples, samples and reconstructions.

        It has `unit`, `sampling` and `decoding` (options of `generation`), examples(count),
        samples(x, epoch) and pairs(x, rebuilt, epoch).
        """
        raise NotImplementedError

    def read_split(self, run, config):
        """The `Split` of a finished run that `config` (file, split, max_examples) names."""
        raise NotImplementedError

    def check_analysis(self, run, split, config):
        """Says, before any long work, what cannot be analyzed; returns what `analyze` needs."""

    def analyze(self, run, split, config, steps, checked, folder):
        """Saliency as a JSON-able dict; writes its pictures to `folder`."""
        raise NotImplementedError

    def generation_options(self, config, run, files):
        """Options of `generation` for a `GenerateConfig`, once it and the output are checked."""
        raise NotImplementedError

    def read_examples(self, config, run):
        """The examples of config.file that are reconstructed or whose codes are used."""
        raise NotImplementedError

    def write_generated(self, config, run, x, drawn, labels, files):
        """Writes what was drawn; returns the lines or the path of the picture."""
        raise NotImplementedError


def check_digest(run, config, digest):
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
