#!/usr/bin/env python3
"""What S samples of z a refinement step cost, against one: python benchmarks/samples.py

A whole training step of three small models, on one thread: `dense` (the pairs of
docs/experiments/study_data.py: 100 bits, two layers of 64), `text` (vocabulary 1,000, 64 units, 12
words, batch 32) and `image` (a PixelCNN, 28 x 28, 8 channels, kernels 7, 5 and 3, batch 20);
`image_config` has the sizes of `train_image.py --config=small`. All programs of a model take turns
in one process, and what is shown is the median of their CPU time and its ratio to the first in the
same turn, so that other work on the machine matters little. A program is S, with `a` for antithetic
pairs and `u` for adjoint="unrolled": `--programs=1,1u,2,2a,4,4a`; `vae` is a VAE's step, without
refinement.

`--executions=20` runs 20 training steps in one call, Keras' `steps_per_execution`.
"""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tf_savae
from tf_savae import networks

FLAGS = flags.FLAGS


def dense():
    """(encoder, decoder, latent size, batch) of the study's pairs."""
    inputs = keras.Input([100])
    hidden = keras.layers.Dense(64, activation="relu")(inputs)
    encoder = keras.Model(inputs, [keras.layers.Dense(6)(hidden) for _ in range(2)])
    layers = [keras.layers.Dense(64, activation="tanh"), keras.layers.Dense(100)]
    decoder = networks.DistributionDecoder(keras.Sequential(layers), "bernoulli")
    rows = np.random.default_rng(0).random((50, 100)) < 0.4
    return encoder, decoder, 6, rows.astype("float32")


def text():
    """The same of a small text model; half of the sentences are shorter than the others."""
    sizes = {"vocabulary_size": 1000, "embedding_size": 64, "units": 64, "latent_size": 16}
    encoder, decoder = networks.TextEncoder(**sizes), networks.TextDecoder(**sizes, dropout=0.3)
    tokens = np.random.default_rng(0).integers(4, 1000, (32, 12)).astype("int32")
    tokens[::2, 9:] = 0
    return encoder, decoder, 16, tokens


def image(encoder_channels=(8, 8), batch=20):
    """The same of a small PixelCNN."""
    encoder = networks.ResidualEncoder(8, channels=encoder_channels)
    decoder = networks.PixelCNNDecoder(latent_size=8, channels=8, kernel_sizes=(7, 5, 3))
    images = np.random.default_rng(0).random((batch, 28, 28, 1)) < 0.3
    return encoder, decoder, 8, images.astype("float32")


def image_config():
    """The same at the sizes of `train_image.py --config=small`."""
    return image((8, 16, 16), 25)


MODELS = {"dense": dense, "text": text, "image": image, "image_config": image_config}


def define_flags():
    """The command's flags; not on import, where other commands have theirs."""
    flags.DEFINE_list("models", ["dense", "text", "image"], f"which of {', '.join(MODELS)}")
    about = "numbers of samples; a: antithetic; u: unrolled; vae"
    flags.DEFINE_list("programs", ["1", "2", "4"], about)
    flags.DEFINE_integer("steps", 5, "K")
    flags.DEFINE_integer("executions", 1, "training steps in one call")
    flags.DEFINE_integer("turns", 15, "timed turns of each program")
    flags.DEFINE_float("seconds", 0.3, "CPU time of a program's turn, about")
    flags.DEFINE_string("keep", "auto", "what refinement steps keep")


def stepper(make, program):
    """A function that runs `--executions` training steps, compiled."""
    keras.utils.set_random_seed(0)
    encoder, decoder, latent_size, rows = make()
    objective, samples = ("vae", "1") if program == "vae" else ("savae", program)
    how = {"adjoint": "unrolled"} if samples.endswith("u") else {"keep": FLAGS.keep}
    refinement = tf_savae.SemiAmortizedRefinement(
        steps=FLAGS.steps, step_size=0.02, samples=int(samples.rstrip("au")),
        antithetic=samples.endswith("a"), **how,
    )
    model = tf_savae.SemiAmortizedVAE(
        encoder, decoder, latent_size=latent_size, objective=objective, refinement=refinement,
        seed=0,
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_tensors(rows).repeat().with_options(options)
    optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=5.0)
    model.compile(optimizer, steps_per_execution=FLAGS.executions)
    model.fit(data, steps_per_epoch=FLAGS.executions, verbose=0)
    batches = iter(data)

    def run():
        logs = model.train_function(batches)
        return float(np.ravel(logs["loss"])[0])

    run()
    return run


def spent(run, calls):
    """CPU milliseconds of a training step, over some calls."""
    began = time.process_time()
    for _ in range(calls):
        run()
    return 1e3 * (time.process_time() - began) / calls / FLAGS.executions


def measure(name):
    """Lines of a Markdown table: program, milliseconds, ratio to the first program."""
    runs = {program: stepper(MODELS[name], program) for program in FLAGS.programs}
    calls = {p: max(1, int(1e3 * FLAGS.seconds / spent(run, 2) / FLAGS.executions))
             for p, run in runs.items()}
    turns = {program: [] for program in runs}
    for _ in range(FLAGS.turns):
        for program, run in runs.items():
            turns[program].append(spent(run, calls[program]))
    first = turns[FLAGS.programs[0]]
    for program, times in turns.items():
        ratios = [mine / one for mine, one in zip(times, first, strict=True)]
        medians = f"{statistics.median(times):.2f} | {statistics.median(ratios):.2f}"
        yield f"| {name} | {program} | {medians} |"


def main(_):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"K = {FLAGS.steps}, {FLAGS.executions} steps a call, keep {FLAGS.keep}")
    print("| model | S | CPU ms a step | against the first |\n|---|---|---|---|")
    for name in FLAGS.models:
        for line in measure(name):
            print(line, flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
