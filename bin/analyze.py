#!/usr/bin/env python3
"""Shows what the latent variables of a finished run carry, and what refinement does to it.

analyze.py --workdir=savae_run --split=test --file=test.txt --tags=test.tags
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["analyze"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
