#!/usr/bin/env python3
"""Trains one of the six systems on images, reports on the test images; resumes if it was killed.

train_image.py --config=small --system=savae --images=omniglot28.npz --workdir=savae_run
"""

import sys

from absl import flags, logging

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae import tasks  # noqa: E402
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.tasks.image.config import IMAGE_CONFIGS, ImageConfig  # noqa: E402
from tf_savae.training.config import configured  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "folder of the run, made if needed; resumed if it holds it")
flags.DEFINE_enum("config", "small", sorted(IMAGE_CONFIGS), "named settings; flags override them")
flags.mark_flag_as_required("workdir")
command_line.define_flags(ImageConfig, note=" (default: that of --config)")


def train(settings):
    config = configured(IMAGE_CONFIGS[FLAGS.config](), settings)
    tasks.train_and_evaluate_images(config, FLAGS.workdir)


def main(argv):
    command_line.run(argv, ImageConfig, train, (ValueError, OSError, ArithmeticError, ImportError))


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    command_line.start(main)
