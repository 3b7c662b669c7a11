#!/usr/bin/env python3
"""Generates with a finished run: samples, reconstructions, interpolations, traversals.

generate.py --workdir=savae_run --n=5
generate.py --workdir=savae_run --mode=reconstruct --file=test.txt --decoding=beam
generate.py --workdir=savae_run --mode=interpolate --file=test.txt --rows=3,8 --labels
"""

import dataclasses
import sys

from absl import app, flags, logging

from tf_savae.training import GenerateConfig, generate

FLAGS = flags.FLAGS
FIELDS = dataclasses.fields(GenerateConfig)

flags.DEFINE_string("workdir", None, "folder of a finished run; it is only read")
flags.mark_flag_as_required("workdir")
DEFINE = {int: flags.DEFINE_integer, float: flags.DEFINE_float, bool: flags.DEFINE_boolean}
for field in FIELDS:
    if "choices" in field.metadata:
        flags.DEFINE_enum(field.name, None, field.metadata["choices"], field.metadata["help"])
    else:
        define = DEFINE.get(field.metadata["type"], flags.DEFINE_string)
        define(field.name, None, field.metadata["help"])


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"expected only flags, got {' '.join(argv[1:])}")
    try:
        given = {f.name: FLAGS[f.name].value for f in FIELDS}
        generate(GenerateConfig(**given), FLAGS.workdir)
    except (ValueError, OSError, ArithmeticError) as error:
        logging.debug("where it happened", exc_info=True)
        sys.exit(f"generate.py: {error}")


if __name__ == "__main__":
    logging.set_verbosity(logging.INFO)
    app.run(main)
