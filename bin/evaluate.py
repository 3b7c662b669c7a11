#!/usr/bin/env python3
"""Evaluates a finished run: bounds, importance-weighted NLL, mutual information, inference gap.

evaluate.py --workdir=savae_run --split=test --file=test.txt --samples=500
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["evaluate"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
