"""`worker_group`: the replicas and processes that train together (tf.distribute).

One process of a group, the chief, writes the workdir; all read it. Every process makes the same
decisions at the same steps, since all of them see the same metrics, and they wait for one another
where one reads what another writes.
"""

import contextlib
import os
from pathlib import Path

import tensorflow as tf
from absl import logging

from tf_savae.core import validation
from tf_savae.models import distribution
from tf_savae.training.config import STRATEGIES
from tf_savae.training.storage.workdir import Workdir

__all__ = ["ReadOnlyWorkdir", "WorkerGroup", "worker_group"]


class WorkerGroup:
    """Replicas that train one model.

    Args:
      strategy: a tf.distribute strategy; the default one is a group of one.
    """

    def __init__(self, strategy):
        self._strategy = strategy
        resolver = getattr(strategy, "cluster_resolver", None)
        self._several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self.is_chief = not (self._several and resolver.task_type == "worker" and resolver.task_id)

    def scope(self):
        """Inside, models and optimizers are made for this group."""
        return self._strategy.scope()

    @property
    def size(self):
        """Number of replicas."""
        return self._strategy.num_replicas_in_sync

    def check_batch_size(self, batch_size):
        """Raises ValueError unless each replica gets the same number of rows."""
        if batch_size % self.size:
            raise ValueError(
                f"batch_size: it is that of all replicas together; expected a multiple of their "
                f"number, {self.size}, got {batch_size}."
            )

    def workdir(self, path):
        """The run's folder: held by the chief, read by the others."""
        return Workdir(path) if self.is_chief else ReadOnlyWorkdir(path)

    def wait(self):
        """Returns once all processes have called it."""
        if self._several:
            with self.scope():
                distribution.agreed(0.0)

    def in_turn(self, action):
        """Calls `action` in the chief's process, then in all others; returns what it does."""
        if self.is_chief:
            result = action()
        self.wait()
        return result if self.is_chief else action()

    def check_same(self, name, value):
        """Refuses to train processes that did not read the same state.

        Raises:
          ValueError: `value`, a number, is another one in the chief's process.
        """
        if not self._several:
            return
        with self.scope():
            expected = distribution.agreed(value)
        if expected != value:
            raise ValueError(
                f"{name}: the chief has {expected:g}, this process {value:g}. Expected all "
                "processes to read one workdir: give a folder that all machines share."
            )


class ReadOnlyWorkdir(Workdir):
    """A run's folder, read-only, for processes other than the chief."""

    writes = False

    def __init__(self, path):  # Not Workdir's: nothing is made and nothing held.
        self.path = Path(path)

    def release(self):
        """Nothing is held."""

    def write_json(self, name, value):
        """Nothing: the chief writes it."""

    def claim(self, identity):
        """Nothing: the chief has."""


@contextlib.contextmanager
def worker_group(name):
    """The `WorkerGroup` of a strategy's name; it ends when all its processes have left the block.

    Args:
      name: "none": this process. "mirrored": all GPUs of this machine, or else its (logical) CPUs.
        "multiworker": all GPUs, or else the CPU, of each process that TF_CONFIG names; enter it
        before TensorFlow does anything else. "tpu": the TPU of this machine, or the one that
        TPU_NAME names.

    Raises:
      ValueError: the name is unknown, or what it needs is missing.

    >>> with worker_group("none") as alone:
    ...     alone.size, alone.is_chief
    (1, True)
    """
    validation.choice("strategy", name, STRATEGIES)
    made = WorkerGroup(_MAKERS[name]())
    if name != "none":
        tf.get_logger().setLevel("WARNING")  # It has a line for every sum.
        logging.info("strategy %s: %d replicas train together", name, made.size)
    yield made
    made.wait()  # A process that left early would look dead to the others.


def _mirrored():
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multiworker():
    if not os.environ.get("TF_CONFIG"):
        raise ValueError(
            "strategy: multiworker expects the environment variable TF_CONFIG, which says which "
            "processes there are and which of them this is; got none. bin/launch_workers.py sets "
            "it, or see docs/scale.md."
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
            f"strategy: tpu expects a TPU of this machine, or TPU_NAME to name one; got: {error}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_MAKERS = {
    "none": tf.distribute.get_strategy,
    "mirrored": _mirrored,
    "multiworker": _multiworker,
    "tpu": _tpu,
}
