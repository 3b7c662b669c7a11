#!/usr/bin/env python3
"""Exports a finished run as a SavedModel for TF Serving, with the vocabulary inside.

export_model.py --workdir=savae_run --output=models/savae
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.export import ExportConfig, export_run  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "folder of the finished run; nothing in it is changed")
flags.DEFINE_string("output", None, "folder of the model's versions: 1, 2, ... are made in it")
flags.mark_flags_as_required(["workdir", "output"])
command_line.define_flags(ExportConfig)


def export(settings):
    export_run(ExportConfig(**settings), FLAGS.workdir, FLAGS.output)


def main(argv):
    command_line.run(argv, ExportConfig, export)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
