"""`--start_from`: initialises a run with the weights of a finished run."""

import hashlib
from typing import Any

import keras
import numpy as np
from absl import logging

from tf_savae.training.config import RunConfig
from tf_savae.training.finished_run import load_run
from tf_savae.training.task import Task

__all__ = ["check_start", "start", "start_identity"]


def check_start(config: RunConfig) -> None:
    """Checks that `config.start_from` can be used, before any long computation.

    Raises:
      ValueError: the system has no encoder.
    """
    if not config.start_from:
        return
    if not config.objective.uses_encoder:
        raise ValueError(
            f"start_from: expected a system with an encoder, got system={config.system!r}."
        )
    if config.kl_anneal_epochs:
        logging.info(
            "start_from: the KL weight is annealed again over %g epochs; --kl_anneal_epochs=0 "
            "keeps it at 1",
            config.kl_anneal_epochs,
        )


def start_identity(config: RunConfig, task: Task) -> dict[str, str]:
    """Returns the digest of the initial weights as a dict, or {} without start_from.

    Raises:
      ValueError: the run in start_from has no valid model.
      FileNotFoundError: there is no such run, or it is not finished.
    """
    if not config.start_from:
        return {}
    digest = hashlib.sha256()
    for weight in load_run(config.start_from, [task]).model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return {"weights": digest.hexdigest()}


def start(config: RunConfig, model: keras.Model, data: Any, task: Task) -> None:
    """Initialises a new model with the weights of the run in `config.start_from`.

    Raises:
      ValueError: the run has another kind of data, architecture or vocabulary.
    """
    if not config.start_from:
        return
    source = load_run(config.start_from, [task])
    task.check_start(source, data, config.start_from)
    model.start_from(source.model)
    logging.info("start_from: initialised with the weights of %s", config.start_from)
