#!/usr/bin/env python3
"""Shows what the latent code of a finished run carries, and what refinement does to it.

analyze.py --workdir=savae_run --split=test --file=test.txt --tags=test.tags
"""

import dataclasses
import sys

from absl import app, flags, logging

from tf_savae.training.analyze import analyze_run
from tf_savae.training.analyze_config import AnalyzeConfig

FLAGS = flags.FLAGS
FIELDS = dataclasses.fields(AnalyzeConfig)

flags.DEFINE_string("workdir", None, "folder of the finished run; nothing in it is changed")
flags.DEFINE_string("output", None, "new folder for the results (default: WORKDIR/analysis)")
flags.mark_flag_as_required("workdir")
DEFINE = {int: flags.DEFINE_integer}
for field in FIELDS:
    text = f"{field.metadata['help']} (default: {field.default})"
    if "choices" in field.metadata:
        flags.DEFINE_enum(field.name, field.default, field.metadata["choices"], text)
    else:
        DEFINE.get(field.type, flags.DEFINE_string)(field.name, None, text)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"expected only flags, got {' '.join(argv[1:])}")
    given = {f.name: FLAGS[f.name].value for f in FIELDS if FLAGS[f.name].value is not None}
    try:
        analyze_run(AnalyzeConfig(**given), FLAGS.workdir, FLAGS.output)
    except (ValueError, OSError) as error:
        logging.debug("where it happened", exc_info=True)
        sys.exit(f"analyze.py: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)
