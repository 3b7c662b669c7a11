"""Runs in folders: configuration, training that resumes, distribution, TensorBoard, reports."""

from tf_savae.training.config import RunConfig, configured
from tf_savae.training.task import Split, Task, check_digest
from tf_savae.training.trainer import run

__all__ = ["RunConfig", "Split", "Task", "check_digest", "configured", "run"]
