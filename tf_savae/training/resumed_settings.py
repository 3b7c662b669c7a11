"""Restores recorded settings when a run is resumed, since defaults may have changed."""

import dataclasses
from typing import Any, TypeVar

from absl import logging

from tf_savae.training.config import EARLIER, KEEPS
from tf_savae.training.storage.workdir import Workdir

__all__ = ["with_recorded_keep"]

_Config = TypeVar("_Config", bound=Any)  # A `RunConfig` or an `OracleConfig`.


def with_recorded_keep(config: _Config, folder: Workdir) -> _Config:
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
    chosen = {"keep_budget": 0} if hasattr(config, "keep_budget") else {}  # For "auto" only.
    return dataclasses.replace(config, keep=keep, **chosen)
