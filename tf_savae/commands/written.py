"""The files that each command writes, and the suggested next command."""

import fnmatch
import shlex
from pathlib import Path

__all__ = ["FILES", "ending", "markdown"]

_RUN = {
    "report.json": "test figures, settings and versions: the end of a finished run",
    "model.keras": "the model with the weights of the best epoch",
    "history.csv": "the figures of every epoch, for spreadsheets",
    "history.json": "the same, for programs",
    "run.json": "the resolved settings (--config_file takes it) and what the data were",
    "figures/": "pictures of the training curves and of refinement, with their arrays (.npz)",
    "tensorboard/": "curves, samples and reconstructions: tensorboard --logdir shows them",
    "best/": "weights of the best epoch",
    "checkpoints/": "the latest checkpoints, from which the same command resumes",
}
_TENSORBOARD = {"tensorboard/": "the same figures and pictures for TensorBoard"}
# By command: {file, folder/ or pattern in the command's folder: description}. Some files are
# written only for images, only for texts or only with some settings. Missing files are not listed.
FILES = {
    "train-text": {"vocabulary.txt": "the words of the model, by their numbers", **_RUN},
    "train-image": _RUN,
    "train-oracle": {
        "results.json": "settings, versions and the numbers of every system",
        "landscape.png": "the ELBO of one test point, with the paths of the steps",
        "landscape.npz": "the arrays of that picture",
        "run.json": "the resolved settings and seeds",
    },
    "evaluate": {
        "report.txt": "the report, as it was shown",
        "report.json": "all its numbers, the settings and versions",
        "gap.png": "the inference gap taken apart",
        "gap.npz": "the arrays of that picture",
        "steps.png": "bound, KL and time against the number of refinement steps",
        "steps.npz": "the arrays of that picture",
        **_TENSORBOARD,
    },
    "analyze": {
        "analysis.json": "all numbers, the settings and versions",
        "corpus.png": "saliency of words by frequency and position (texts)",
        "corpus.npz": "the arrays of that picture",
        "sentence.png": "saliency of one text, word by word (texts)",
        "sentence.npz": "the arrays of that picture",
        "pixels.png": "saliency of pixels (images)",
        "pixels.npz": "the arrays of that picture",
        "refinement.png": "how bound and posterior move along the refinement steps",
        "refinement.npz": "the arrays of that picture",
        **_TENSORBOARD,
    },
    "generate": {
        "*.png": "the images, with labels",
        "*.npz": "the images, their codes and the data, as arrays",
        "*": "the texts, one a line",
    },
    "export": {
        "saved_model.pb": "the signatures, for TensorFlow Serving",
        "variables/": "the weights",
        "assets/": "the vocabulary, where a signature takes texts",
        "assets.extra/": "signatures.md says how to call them; requests to warm up with",
        "fingerprint.pb": "TensorFlow's own mark of the model",
    },
}


def ending(command, folder, next_words, only=None):
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


def markdown(command):
    """Returns the table of docs/commands.md, with a row for each file of a command.

    >>> print(markdown("train-oracle").splitlines()[2])
    | `results.json` | settings, versions and the numbers of every system |
    """
    rows = [f"| `{name}` | {what} |" for name, what in FILES[command].items()]
    return "\n".join(["| file | what it is |", "|---|---|", *rows])
