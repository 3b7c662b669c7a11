"""Go on with a run as it was begun, where defaults have changed since."""

import dataclasses

from absl import logging

from tf_savae.training.config import EARLIER, KEEPS

__all__ = ["as_begun"]


def as_begun(config, folder):
    """`config`, whose keep="auto" becomes what the run in `folder` was begun with, if anything.

    Programs that keep more or less round differently, and a run ends with the numbers of an
    uninterrupted one. A run of an earlier version that wrote nothing down kept nothing.
    """
    record = folder.read_json("run.json")
    found = record.get("configuration") if isinstance(record, dict) else None
    if config.keep != "auto" or not isinstance(found, dict):
        return config
    keep = found.get("keep", EARLIER["keep"])
    if keep == "auto" or keep not in KEEPS:
        return config
    logging.info("the run in %s was begun with keep=%r, and goes on so", folder.path, keep)
    return dataclasses.replace(config, keep=keep)
