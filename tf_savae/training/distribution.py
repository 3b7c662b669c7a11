"""`worker_group`: the replicas and processes of distributed training (tf.distribute).

One process of the group, the chief, writes the workdir; all processes read it. All processes make
the same decisions at the same steps, because they have the same metrics. They synchronise wherever
one process reads files that another one writes.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tf_savae.core import validation
from tf_savae.core.typing import PathLike
from tf_savae.models import distribution
from tf_savae.training.config import STRATEGIES
from tf_savae.training.storage.workdir import Workdir

__all__ = ["ReadOnlyWorkdir", "WorkerGroup", "worker_group"]


class WorkerGroup:
    """A group of replicas that train one model.

    Args:
      strategy: a tf.distribute strategy; the default strategy gives a group of one.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        resolver: Any = getattr(strategy, "cluster_resolver", None)
        self._several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.is_chief = not (self._several and resolver.task_type == "worker" and resolver.task_id)

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which models and optimizers of this group are created."""
        return self._strategy.scope()

    @property
    def size(self) -> int:
        """The number of replicas."""
        return self._strategy.num_replicas_in_sync

    def check_batch_size(self, batch_size: int) -> None:
        """Raises ValueError if the batch size is not a multiple of the number of replicas."""
        if batch_size % self.size:
            raise ValueError(
                f"batch_size: expected a multiple of the number of replicas, {self.size}, since it "
                f"is the global batch size; got {batch_size}."
            )

    def workdir(self, path: PathLike) -> Workdir:
        """Returns the run's folder: locked by the chief and read-only for other processes."""
        return Workdir(path) if self.is_chief else ReadOnlyWorkdir(path)

    def wait(self) -> None:
        """Blocks until all processes have called it."""
        if self._several:
            with self.scope():
                distribution.agreed(0.0)

    def in_turn(self, action: Callable[[], Any]) -> Any:
        """Calls `action` in the chief, then in the other processes; returns its result."""
        if self.is_chief:
            result = action()
        self.wait()
        return result if self.is_chief else action()

    def check_same(self, name: str, value: float) -> None:
        """Checks that all processes have read the same state.

        Raises:
          ValueError: the number `value` differs from that of the chief.
        """
        if not self._several:
            return
        with self.scope():
            expected = distribution.agreed(value)
        if expected != value:
            raise ValueError(
                f"{name}: the chief has {expected:g}, this process {value:g}. Expected all "
                "processes to use one workdir. Use a folder that all machines share."
            )


class ReadOnlyWorkdir(Workdir):
    """A run's folder, read-only, for processes other than the chief."""

    writes = False

    def __init__(self, path: PathLike) -> None:  # Without super(): creates and locks nothing.
        self.path = Path(path)

    def release(self) -> None:
        """Does nothing; there is no lock."""

    def write_json(self, name: str, value: Any) -> None:
        """Does nothing; the chief writes the file."""

    def claim(self, identity: dict[str, Any]) -> None:
        """Does nothing; the chief claims the folder."""


@contextlib.contextmanager
def worker_group(name: str) -> Iterator[WorkerGroup]:
    """Context of the `WorkerGroup` of a strategy; it exits once all processes have left the block.

    Args:
      name: "none": this process. "mirrored": all GPUs of this machine, or else its (logical) CPUs.
        "multiworker": all GPUs, or else the CPU, of each process in TF_CONFIG; it must be entered
        before any other use of TensorFlow. "tpu": the TPU of this machine, or the one named by
        TPU_NAME.

    Raises:
      ValueError: the name is unknown, or the required devices or variables are missing.

    >>> with worker_group("none") as alone:
    ...     alone.size, alone.is_chief
    (1, True)
    """
    validation.choice("strategy", name, STRATEGIES)
    made = WorkerGroup(_MAKERS[name]())
    if name != "none":
        tf.get_logger().setLevel("WARNING")  # It logs a line per all-reduce.
        logging.info("strategy %s: training on %d replicas", name, made.size)
    yield made
    made.wait()  # The others would treat a process that exits early as failed.


def _mirrored():
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multiworker():
    if not os.environ.get("TF_CONFIG"):
        raise ValueError(
            "strategy: multiworker expects the environment variable TF_CONFIG, which lists the "
            "workers and the index of this one; got none. bin/launch_workers.py sets it, or see "
            "docs/scale.md."
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            os.environ.get("TPU_NAME", "local")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            f"strategy: tpu expects a local TPU, or the name of one in TPU_NAME; got: {error}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_MAKERS = {
    "none": tf.distribute.get_strategy,
    "mirrored": _mirrored,
    "multiworker": _multiworker,
    "tpu": _tpu,
}
