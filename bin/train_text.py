#!/usr/bin/env python3
"""Trains one of the six systems on text and reports on the test text; resumes if it was killed.

train_text.py --config=small --system=savae --train_file=train.txt --valid_file=valid.txt
--test_file=test.txt --workdir=savae_run
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae import tasks  # noqa: E402
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.tasks.text.config import TEXT_CONFIGS, TextConfig  # noqa: E402
from tf_savae.training.config import configured  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "folder of the run, made if needed; resumed if it holds it")
flags.DEFINE_enum("config", "small", sorted(TEXT_CONFIGS), "named settings; flags override them")
flags.mark_flag_as_required("workdir")
command_line.define_flags(TextConfig, note=" (default: that of --config)")


def train(settings):
    config = configured(TEXT_CONFIGS[FLAGS.config](), settings)
    tasks.train_and_evaluate(config, FLAGS.workdir)


def main(argv):
    command_line.run(argv, TextConfig, train, (ValueError, OSError, ArithmeticError))


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
