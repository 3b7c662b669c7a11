#!/usr/bin/env python3
"""Runs a training command as several workers, and restarts all of them if one fails.

launch_workers.py --workers=2 -- train_text.py --strategy=multiworker --workdir=savae_run ...

On several machines, on each with its own --index:
launch_workers.py --hosts=a:5000,b:5000 --index=0 -- train_text.py --strategy=multiworker ...
"""

import functools
import sys

from absl import flags

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.training import launcher  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_integer("workers", 2, "number of processes on this machine", lower_bound=1)
flags.DEFINE_list("hosts", [], "host:port of the workers of all machines, instead of --workers")
flags.DEFINE_integer(
    "index", None, "index in --hosts of the worker to run here, from 0", lower_bound=0
)
flags.DEFINE_integer("restarts", 5, "maximum number of consecutive restarts", lower_bound=0)
flags.DEFINE_float(
    "healthy",
    600.0,
    "seconds after which a run counts as healthy and resets the restarts",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "grace", 20.0, "seconds for the other workers to end after one has ended", lower_bound=0.0
)


def main(argv):
    limits = launcher.RestartLimits(FLAGS.restarts, FLAGS.healthy, FLAGS.grace)
    say = functools.partial(print, flush=True)
    try:
        status = launcher.supervise(
            argv[1:], FLAGS.workers, hosts=FLAGS.hosts, index=FLAGS.index, limits=limits, say=say
        )
    except (ValueError, OSError) as error:
        sys.exit(f"launch_workers.py: {error}")
    sys.exit(status)


if __name__ == "__main__":
    command_line.start(main)
