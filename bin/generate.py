#!/usr/bin/env python3
"""Generates with a finished run: samples, reconstructions, interpolations, traversals.

generate.py --workdir=savae_run --n=5
generate.py --workdir=savae_run --mode=reconstruct --file=test.txt --decoding=beam
generate.py --workdir=savae_run --mode=interpolate --file=test.txt --rows=3,8 --labels
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["generate"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
