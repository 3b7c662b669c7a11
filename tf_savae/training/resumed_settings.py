"""Keeps the recorded settings of a run when it is resumed after defaults have changed."""

import dataclasses

from absl import logging

from tf_savae.training.config import EARLIER, KEEPS

__all__ = ["with_recorded_keep"]


def with_recorded_keep(config, folder):
    """Returns `config` with keep="auto" replaced by the value recorded for the run in `folder`.

    The value affects rounding, and a resumed run has to give the numbers of an uninterrupted one.
    A run of an earlier version without a recorded value has keep="none".
    """
    record = folder.read_json("run.json")
    found = record.get("configuration") if isinstance(record, dict) else None
    if config.keep != "auto" or not isinstance(found, dict):
        return config
    keep = found.get("keep", EARLIER["keep"])
    if keep == "auto" or keep not in KEEPS:
        return config
    logging.info("the run in %s was started with keep=%r and resumes with it", folder.path, keep)
    return dataclasses.replace(config, keep=keep)
