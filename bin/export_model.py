#!/usr/bin/env python3
"""Exports a finished run as a SavedModel for TF Serving, with the vocabulary inside.

export_model.py --workdir=savae_run --output=models/savae
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.catalogue import COMMANDS  # noqa: E402

FLAGS = flags.FLAGS
COMMAND = COMMANDS["export"]

command_line.define_command(COMMAND)


def main(argv):
    command_line.run(argv, COMMAND)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
