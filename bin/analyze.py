#!/usr/bin/env python3
"""Shows what the latent code of a finished run carries, and what refinement does to it.

analyze.py --workdir=savae_run --split=test --file=test.txt --tags=test.tags
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae import commands  # noqa: E402
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.commands.evaluate.config import AnalyzeConfig  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "folder of the finished run; nothing in it is changed")
flags.DEFINE_string("output", None, "new folder for the results (default: WORKDIR/analysis)")
flags.mark_flag_as_required("workdir")
command_line.define_flags(AnalyzeConfig)


def analyze(settings):
    commands.analyze_run(AnalyzeConfig(**settings), FLAGS.workdir, FLAGS.output)


def main(argv):
    command_line.run(argv, AnalyzeConfig, analyze)


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
