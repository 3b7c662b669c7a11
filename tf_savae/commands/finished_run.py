"""The data of a finished run, as evaluate.py and analyze.py are told of them."""

from tf_savae.data import readable

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
    if not readable(config.file):
        raise FileNotFoundError(f"file: expected a file that can be read, got {config.file}.")
    return run.task.read_split(run, config)
