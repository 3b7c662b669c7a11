#!/usr/bin/env python3
"""Trains one system (--system) on images, reports on the test images; resumes if it was killed.

train_image.py --config=small --system=savae --images=omniglot28.npz --workdir=savae_run
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["train-image"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
