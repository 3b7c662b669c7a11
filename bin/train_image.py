#!/usr/bin/env python3
"""Trains one of the six systems on images, reports on the test images; resumes if it was killed.

train_image.py --config=small --system=savae --images=omniglot28.npz --workdir=savae_run
"""

import dataclasses
import sys

from absl import app, flags, logging

from tf_savae.training.image import train_and_evaluate_images
from tf_savae.training.image_config import IMAGE_CONFIGS, ImageConfig

FLAGS = flags.FLAGS
FIELDS = dataclasses.fields(ImageConfig)

flags.DEFINE_string("workdir", None, "folder of the run, made if needed; resumed if it holds it")
flags.DEFINE_enum("config", "small", sorted(IMAGE_CONFIGS), "named settings; flags override them")
flags.mark_flag_as_required("workdir")
DEFINE = {int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_boolean}
for field in FIELDS:
    text = f"{field.metadata['help']} (default: that of --config)"
    if "choices" in field.metadata:
        flags.DEFINE_enum(field.name, None, field.metadata["choices"], text)
    else:
        DEFINE.get(field.type, flags.DEFINE_string)(field.name, None, text)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"expected only flags, got {' '.join(argv[1:])}")
    given = {f.name: FLAGS[f.name].value for f in FIELDS if FLAGS[f.name].value is not None}
    try:
        config = dataclasses.replace(IMAGE_CONFIGS[FLAGS.config](), **given)
        train_and_evaluate_images(config, FLAGS.workdir)
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        logging.debug("where it happened", exc_info=True)
        sys.exit(f"train_image.py: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)
