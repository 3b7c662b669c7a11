#!/usr/bin/env python3
"""The oracle experiment: VAE, SVI and SA-VAE against a known generator, and with a learned one.

train_oracle.py --workdir=oracle_run --seeds=3
"""

import dataclasses
import sys

from absl import app, flags, logging

from tf_savae.training import ORACLE_CONFIGS, OracleConfig, run_oracle

FLAGS = flags.FLAGS
FIELDS = dataclasses.fields(OracleConfig)

flags.DEFINE_string("workdir", "oracle_run", "folder of the results, made if needed")
flags.DEFINE_boolean("quick", False, "a small experiment, under a minute")
flags.DEFINE_integer("seeds", 1, "how many oracles to draw", lower_bound=1)
flags.DEFINE_integer("first_seed", 0, "the first of the seeds, which count up", lower_bound=0)
DEFINE = {int: flags.DEFINE_integer, float: flags.DEFINE_float}
for field in FIELDS:
    text = f"{field.metadata['help']} (default: {field.default}; see also --quick)"
    if "choices" in field.metadata:
        flags.DEFINE_enum(field.name, None, field.metadata["choices"], text)
    else:
        DEFINE[field.type](field.name, None, text)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"expected only flags, got {' '.join(argv[1:])}")
    given = {f.name: FLAGS[f.name].value for f in FIELDS if FLAGS[f.name].value is not None}
    try:
        seeds = range(FLAGS.first_seed, FLAGS.first_seed + FLAGS.seeds)
        named = ORACLE_CONFIGS["quick" if FLAGS.quick else "full"]()
        run_oracle(dataclasses.replace(named, **given), FLAGS.workdir, seeds)
    except (ValueError, OSError) as error:
        logging.debug("where it happened", exc_info=True)
        sys.exit(f"train_oracle.py: {error}")


if __name__ == "__main__":
    app.run(main)
