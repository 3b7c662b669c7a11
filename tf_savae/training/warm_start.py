"""`--start_from`: begin a run with the weights of a finished one."""

import hashlib

import numpy as np
from absl import logging

from tf_savae.training.finished_run import load_run

__all__ = ["check_start", "start", "start_identity"]


def check_start(config):
    """Raises before any long work where `config.start_from` cannot be a start.

    Raises:
      ValueError: the system has no encoder to start, or the run has no finished model.
      FileNotFoundError: there is no such run.
    """
    if not config.start_from:
        return
    if not config.objective.uses_encoder:
        raise ValueError(
            f"start_from: expected a system with an encoder, got system={config.system!r}."
        )
    if config.kl_anneal_epochs:
        logging.info(
            "start_from: the KL weight is annealed anew over %g epochs; --kl_anneal_epochs=0 goes "
            "on at 1",
            config.kl_anneal_epochs,
        )


def start_identity(config, task):
    """What of the start decides the run's numbers: a digest of its weights; {} for none."""
    if not config.start_from:
        return {}
    digest = hashlib.sha256()
    for weight in load_run(config.start_from, [task]).model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return {"weights": digest.hexdigest()}


def start(config, model, data, task):
    """Gives a new model the weights of the run that `config.start_from` names.

    Raises:
      ValueError: the run is of another kind or architecture, or its words are others.
    """
    if not config.start_from:
        return
    source = load_run(config.start_from, [task])
    task.check_start(source, data, config.start_from)
    model.start_from(source.model)
    logging.info("start_from: begins with the weights of %s", config.start_from)
