#!/usr/bin/env python3
"""The oracle experiment: VAE, SVI and SA-VAE against a known generator, and with a learned one.

train_oracle.py --workdir=oracle_run --seeds=3
"""

import sys

from absl import flags

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["train-oracle"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    command_line.start(main)
