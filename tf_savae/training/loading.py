"""A finished run, loaded from its folder: model, configuration and vocabulary."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from tf_savae import data
from tf_savae.models import AutoregressiveModel, SemiAmortizedVAE
from tf_savae.training.files import inside, read_json
from tf_savae.training.image_config import ImageConfig
from tf_savae.training.model_file import load_model_file
from tf_savae.training.text_config import TextConfig

__all__ = ["Run", "load_run"]


class Run(NamedTuple):
    """What a finished run left in its folder."""

    workdir: Path
    kind: str  # "text" or "image"
    model: Any  # SemiAmortizedVAE or AutoregressiveModel, compiled, with the best weights
    configuration: dict  # the fields of its TextConfig or ImageConfig, files left out
    data: dict  # what told its data from others (digests), as in run.json
    vocabulary: Any  # tf_savae.data.Vocabulary, or None for images

    @property
    def system(self):
        """Which of the six systems it is, such as "savae"."""
        return self.configuration["system"]

    @property
    def latent(self):
        """Whether the model has a latent code."""
        return isinstance(self.model, SemiAmortizedVAE)


def load_run(workdir):
    """Loads what train_text.py or train_image.py left in `workdir`; nothing is written.

    Args:
      workdir: path of the folder of a finished run.

    Returns:
      A `Run`.

    Raises:
      FileNotFoundError: there is no such folder, or no run, model or vocabulary in it.
      ValueError: a file in it is damaged, of something else, or of another run.

    >>> load_run("no_such_folder")
    Traceback (most recent call last):
    FileNotFoundError: workdir no_such_folder: expected the folder of a finished run, ...
    """
    folder = Path(workdir)
    record = _record(folder)
    configuration, identity = record["configuration"], record.get("data", {})
    kind = "text" if "vocabulary_size" in configuration else "image"
    vocabulary = _vocabulary(folder, identity) if kind == "text" else None
    model = _model(inside(folder, "model.keras"))
    _check_vocabulary(folder, model, vocabulary)
    return Run(folder, kind, model, configuration, identity, vocabulary)


def _record(folder):
    """run.json, which every run writes first."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"workdir {folder}: expected the folder of a finished run, and there is no such "
            "folder. Give the --workdir that the training was given."
        )
    path = inside(folder, "run.json")
    if not path.is_file():
        raise FileNotFoundError(
            f"workdir {folder}: expected the folder of a finished run, found no run.json in it. "
            "Give the --workdir that the training was given."
        )
    record = read_json(path)
    configuration = record.get("configuration") if isinstance(record, dict) else None
    if not isinstance(configuration, dict) or "system" not in configuration:
        raise ValueError(
            f"{path}: expected the record of a run with one system (train_text.py, "
            "train_image.py), got something else. Give the workdir of such a run."
        )
    record = {**record, "configuration": _complete(path, configuration)}
    if not isinstance(record.get("data", {}), dict):
        raise ValueError(f"{path}: expected digests of the run's data, got {record['data']!r}.")
    return record


def _complete(path, configuration):
    """The configuration, with this version's defaults for what an earlier one did not write.

    Raises:
      ValueError: a value is out of its range.
    """
    known = TextConfig if "vocabulary_size" in configuration else ImageConfig
    wanted = known().identity()
    values = {name: configuration[name] for name in wanted if name in configuration}
    if values.get("adjoint") == "unrolled":  # Earlier versions took the bound, and no notice of it.
        values["adjoint_clip_norm"] = 0.0
    try:
        known(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected the configuration of a run, got {error}") from error
    return {**wanted, **configuration}


def _vocabulary(folder, identity):
    vocabulary = data.Vocabulary.load(inside(folder, "vocabulary.txt"))
    known = identity.get("vocabulary")
    if known is not None and known != vocabulary.fingerprint():
        raise ValueError(
            f"{folder / 'vocabulary.txt'}: expected the vocabulary that the run was trained with "
            f"(fingerprint {str(known)[:12]}), got another one ({vocabulary.fingerprint()[:12]}). "
            "Restore the run's own."
        )
    return vocabulary


def _model(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the run has no model yet: it is written when training ends. Call the "
            "training command again, with the same flags, until it has printed its report."
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: expected a Keras model file, got a damaged or other file. Call the training "
            "command again, with the same flags: it writes the model anew, from the best weights."
        )
    model = load_model_file(path)
    if not isinstance(model, (SemiAmortizedVAE, AutoregressiveModel)):
        raise ValueError(
            f"{path}: expected a SemiAmortizedVAE or AutoregressiveModel, got a "
            f"{type(model).__name__}. Give the workdir of a tf_savae run."
        )
    return model


def _check_vocabulary(folder, model, vocabulary):
    size = getattr(model.decoder, "vocabulary_size", None)
    if vocabulary is not None and size is not None and size != len(vocabulary):
        raise ValueError(
            f"workdir {folder}: expected model and vocabulary of one size, got a model of {size:,} "
            f"tokens and a vocabulary of {len(vocabulary):,}. One of the files is another run's."
        )
