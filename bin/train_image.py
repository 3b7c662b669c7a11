#!/usr/bin/env python3
"""Trains one of the six systems on images, reports on the test images; resumes if it was killed.

train_image.py --config=small --system=savae --images=omniglot28.npz --workdir=savae_run
"""


from absl import app, flags, logging

from tf_savae.commands import command_line
from tf_savae.tasks import IMAGE_CONFIGS, ImageConfig, train_and_evaluate_images
from tf_savae.training import configured

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "folder of the run, made if needed; resumed if it holds it")
flags.DEFINE_enum("config", "small", sorted(IMAGE_CONFIGS), "named settings; flags override them")
flags.mark_flag_as_required("workdir")
command_line.define_flags(ImageConfig, note=" (default: that of --config)")


def train(settings):
    config = configured(IMAGE_CONFIGS[FLAGS.config](), settings)
    train_and_evaluate_images(config, FLAGS.workdir)


def main(argv):
    command_line.run(argv, ImageConfig, train, (ValueError, OSError, ArithmeticError, ImportError))


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)
