#!/usr/bin/env python3
"""How far refinement gets by step size and by samples of z a step, on a trained VAE.

Trains the VAE of the oracle experiment's learned study (docs/oracle.md), then refines its
posteriors of the validation sentences with K steps of several sizes, each with one or more samples
of z:

    python docs/experiments/step_noise.py --seed=0

One-sample gradients are noisy, and a step of size a leaves noise of about a in the posterior: long
steps may lose more by noise than they gain. Prints a Markdown table of bounds, in nats per
sentence, and the VAE's importance-weighted NLL with samples from the prior: no posterior can do
better.
"""

import dataclasses

from absl import app, flags

from tf_savae.models import SemiAmortizedRefinement
from tf_savae.tasks.oracle import systems as systems
from tf_savae.tasks.oracle.config import full
from tf_savae.tasks.oracle.experiment import oracle_and_data

FLAGS = flags.FLAGS
flags.DEFINE_integer("seed", 0, "of oracle, data and weights")
flags.DEFINE_integer("steps", 10, "K")
flags.DEFINE_list("step_sizes", ["0.01", "0.02", "0.05", "0.1"], "the sizes to compare")
flags.DEFINE_list("samples", ["1", "4", "16"], "samples of z a step")


def main(_):
    config = dataclasses.replace(full(), study="learned", test_draws=2)
    oracle, data = oracle_and_data(config, FLAGS.seed)
    model = systems.build_system(config, "learned", "vae", FLAGS.seed, oracle)
    systems.train_system(config, "learned", "vae", model, data)
    rows = data.validation
    start = systems.test_numbers(config, model, rows)
    print(f"\nVAE of seed {FLAGS.seed}: bound {start['bound']:.3f}, KL {start['kl']:.3f}")
    print(f"its importance-weighted NLL: {systems.prior_nll(config, model, rows).mean():.3f}\n")
    print("| step size | " + " | ".join(f"S = {s}" for s in FLAGS.samples) + " |")
    print("|---" * (1 + len(FLAGS.samples)) + "|")
    for size in map(float, FLAGS.step_sizes):
        found = [refined_bound(config, model, rows, size, int(s)) for s in FLAGS.samples]
        print(f"| {size} | " + " | ".join(f"{bound:.3f}" for bound in found) + " |", flush=True)


def refined_bound(config, model, rows, step_size, samples):
    """The bound after K steps, nats per sentence."""
    tester = systems.tester(config, "learned", "vae_svi", FLAGS.seed, model)
    tester.refinement = SemiAmortizedRefinement(
        steps=FLAGS.steps, step_size=step_size, samples=samples, clip_norm=config.learned_clip_norm
    )
    tester.compile(jit_compile=False)
    return systems.test_numbers(config, tester, rows)["bound"]


if __name__ == "__main__":
    app.run(main)
