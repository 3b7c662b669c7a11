"""The files that each command writes, and the suggested next command."""

import fnmatch
import shlex
from collections.abc import Sequence
from pathlib import Path

from tf_savae.core.typing import PathLike

__all__ = ["FILES", "ending", "markdown"]

_RUN = {
    "report.json": "test metrics, settings and versions; written last",
    "model.keras": "the model with the weights of the best epoch",
    "history.csv": "metrics of each epoch, as CSV",
    "history.json": "metrics of each epoch, as JSON",
    "run.json": "the resolved settings (for --config_file) and digests of the data",
    "figures/": "plots of the training curves and of refinement, with their arrays (.npz)",
    "tensorboard/": "curves, samples and reconstructions: tensorboard --logdir shows them",
    "best/": "weights of the best epoch",
    "checkpoints/": "the latest checkpoints, from which the same command resumes",
}
_TENSORBOARD = {"tensorboard/": "the same metrics and plots for TensorBoard"}
# By command: {file, folder/ or pattern in the command's folder: description}. Some files are
# written only for images, only for texts or only with some settings. Missing files are not listed.
FILES = {
    "train-text": {"vocabulary.txt": "the words of the model, in the order of their ids", **_RUN},
    "train-image": _RUN,
    "train-oracle": {
        "results.json": "settings, versions and the metrics of every system",
        "landscape.png": "the ELBO of one test point, with the refinement paths",
        "landscape.npz": "the arrays of that plot",
        "run.json": "the resolved settings and seeds",
    },
    "evaluate": {
        "report.txt": "the report, as printed",
        "report.json": "all its metrics, settings and versions",
        "gap.png": "the components of the inference gap",
        "gap.npz": "the arrays of that plot",
        "steps.png": "bound, KL and time against the number of refinement steps",
        "steps.npz": "the arrays of that plot",
        **_TENSORBOARD,
    },
    "analyze": {
        "analysis.json": "all metrics, settings and versions",
        "corpus.png": "saliency of words by frequency and position (texts)",
        "corpus.npz": "the arrays of that plot",
        "sentence.png": "saliency of one text, word by word (texts)",
        "sentence.npz": "the arrays of that plot",
        "pixels.png": "saliency of pixels (images)",
        "pixels.npz": "the arrays of that plot",
        "refinement.png": "bound and posterior after each refinement step",
        "refinement.npz": "the arrays of that plot",
        **_TENSORBOARD,
    },
    "generate": {
        "*.png": "the images, with labels",
        "*.npz": "the images, their codes and the data, as arrays",
        "*": "the texts, one per line",
    },
    "export": {
        "saved_model.pb": "the signatures, for TensorFlow Serving",
        "variables/": "the weights",
        "assets/": "the vocabulary, where a signature takes texts",
        "assets.extra/": "signatures.md describes how to call them; requests for warm-up",
        "fingerprint.pb": "TensorFlow's fingerprint of the model",
    },
}


def ending(
    command: str,
    folder: PathLike,
    next_words: Sequence[str],
    only: Sequence[PathLike] | None = None,
) -> str:
    """Returns the final message of a command: its existing files and the suggested next command.

    Args:
      command: a name in `FILES`.
      folder: the folder that the command wrote to.
      next_words: the next command as a list of words.
      only: the paths that were written, if the folder also has other files.

    >>> print(ending("generate", ".", ["tf-savae", "export", "--workdir=my run"], only=[]))
    No file was written.
    Next: tf-savae export '--workdir=my run'
    """
    folder = Path(folder)
    paths = sorted(folder.iterdir()) if only is None else [Path(path) for path in only]
    rows, seen = [], set()
    for pattern, what in FILES[command].items():
        for path in paths:
            name = f"{path.name}/" if path.is_dir() else path.name
            if path not in seen and fnmatch.fnmatchcase(name, pattern):
                seen.add(path)
                rows.append((str(path) + "/" * path.is_dir(), what))
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:{width}}  {what}" for name, what in rows]
    lines = ["Files:", *lines] if lines else ["No file was written."]
    return "\n".join([*lines, f"Next: {shlex.join(next_words)}"])


def markdown(command: str) -> str:
    """Returns the table of docs/commands.md, with a row for each file of a command.

    >>> print(markdown("train-oracle").splitlines()[2])
    | `results.json` | settings, versions and the metrics of every system |
    """
    rows = [f"| `{name}` | {what} |" for name, what in FILES[command].items()]
    return "\n".join(["| file | what it is |", "|---|---|", *rows])
