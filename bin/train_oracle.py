#!/usr/bin/env python3
"""The oracle experiment: VAE, SVI and SA-VAE against a known generator, and with a learned one.

train_oracle.py --workdir=oracle_run --seeds=3
"""

import dataclasses
import sys

from absl import flags

sys.tf_savae_lazy = True  # --help needs no TensorFlow.
from tf_savae import tasks  # noqa: E402
from tf_savae.commands import command_line  # noqa: E402
from tf_savae.tasks.oracle.config import ORACLE_CONFIGS, OracleConfig  # noqa: E402

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", "oracle_run", "folder of the results, made if needed")
flags.DEFINE_boolean("quick", False, "a small experiment, under a minute")
flags.DEFINE_integer("seeds", 1, "how many oracles to draw", lower_bound=1)
flags.DEFINE_integer("first_seed", 0, "the first of the seeds, which count up", lower_bound=0)
command_line.define_flags(OracleConfig, note=" (default: {default}; see also --quick)")


def study(settings):
    named = ORACLE_CONFIGS["quick" if FLAGS.quick else "full"]()
    seeds = range(FLAGS.first_seed, FLAGS.first_seed + FLAGS.seeds)
    tasks.run_oracle(dataclasses.replace(named, **settings), FLAGS.workdir, seeds)


def main(argv):
    command_line.run(argv, OracleConfig, study)


if __name__ == "__main__":
    command_line.start(main)
