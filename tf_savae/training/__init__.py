"""Training runs: configuration, resumable training, distribution, TensorBoard and reports."""

from typing import TYPE_CHECKING

from tf_savae.core.lazy_imports import lazy

if TYPE_CHECKING:
    from tf_savae.training.config import RunConfig, configured
    from tf_savae.training.task import Split, Task, check_digest
    from tf_savae.training.trainer import run

__all__ = ["RunConfig", "Split", "Task", "check_digest", "configured", "run"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "tf_savae.training.config": ["RunConfig", "configured"],
        "tf_savae.training.task": ["Split", "Task", "check_digest"],
        "tf_savae.training.trainer": ["run"],
    },
)
