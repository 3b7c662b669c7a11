"""The data of a finished run, as evaluate.py and analyze.py are told of them."""

import os

__all__ = ["read_split"]


def read_split(run, config):
    """The `Split` of a configuration, checked against what the run was trained on.

    Args:
      run: a `Run`.
      config: `FinishedRunConfig`, or anything with file, split, max_examples and batch_size.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be used, or is not the split that it is said to be.
    """
    if not config.file:
        raise ValueError(
            f"file: expected the data of --split={config.split}, since a run does not keep its "
            "data; got nothing. Give --file."
        )
    place = str(config.file)
    plain = place.rpartition("@")[0] or place  # FILE@FIELD of images.
    if not place.startswith("tfds:") and not any(os.access(p, os.R_OK) for p in (place, plain)):
        raise FileNotFoundError(f"file: expected a file that can be read, got {place}.")
    return run.task.read_split(run, config)
