#!/usr/bin/env python3
"""Trains one of the six systems on text and reports on the test text; resumes if it was killed.

train_text.py --config=small --system=savae --train_file=train.txt --valid_file=valid.txt
--test_file=test.txt --workdir=savae_run
"""

import dataclasses
import sys

from absl import app, flags, logging

from tf_savae.training import TEXT_CONFIGS, TextConfig, train_and_evaluate

FLAGS = flags.FLAGS
FIELDS = dataclasses.fields(TextConfig)

flags.DEFINE_string("workdir", None, "folder of the run, made if needed; resumed if it holds it")
flags.DEFINE_enum("config", "small", sorted(TEXT_CONFIGS), "named configuration; flags override it")
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
        config = dataclasses.replace(TEXT_CONFIGS[FLAGS.config](), **given)
        train_and_evaluate(config, FLAGS.workdir)
    except (ValueError, OSError, ArithmeticError) as error:
        logging.debug("where it happened", exc_info=True)
        sys.exit(f"train_text.py: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)
