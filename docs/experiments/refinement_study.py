#!/usr/bin/env python3
"""Does refinement pay, and which? Every system on several data sets, to convergence.

Each job is a line of settings; jobs that are in the output file already are skipped, so the same
command goes on after an interruption:

    python docs/experiments/refinement_study.py --data=pairs --seeds=0,1,2 --output=study.jsonl \\
        --jobs='vae; vae_svi K=5 step=0.02; savae rule=network K=3 weight=0.3'

A job is an objective and its settings: K (steps), S (samples of z a step), mirrored (1: S samples
are antithetic pairs), step (size), rule (plain, natural, steps or network), weight (of the
amortized term), path (weight of the ELBOs at lambda_1 to lambda_{K-1}), test (K at test time, if
not that of training), curve (1: also the bound at other K), after (epochs of a VAE first), until
(training step from which K is 0, at test time too), rate (factor of the learning rate), epochs (at
most), encoder (linear, small, full), through (which part of the total derivative trains: all,
encoder, theta, identity or reference, as partial_derivatives.py says), iw (samples of an
importance-weighted bound at lambda_K in place of the ELBO, as importance_weighted.py says), stop
(what stops training and chooses the epoch: bound, or iw_nll, the importance-weighted NLL). A model
is trained until that number of the validation rows has not improved for some epochs, and the best
epoch's weights are tested. Time is CPU time of training on one thread, compilation and validation
left out. One line of JSON a job: test bound, KL, importance-weighted NLL (200 samples) and the
encoder's own bound, in nats per example.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from importance_weighted import importance_weighted
from partial_derivatives import PARTS, reference_product
from study_data import DATA
from study_jobs import settings_of

from tf_savae import SemiAmortizedRefinement, SemiAmortizedVAE, evaluation, linear_kl_weight, svi

FLAGS = flags.FLAGS
flags.DEFINE_enum("data", "pairs", sorted(DATA), "data set")
flags.DEFINE_list("seeds", ["0"], "of data, weights and noise")
flags.DEFINE_string("jobs", "vae", "jobs, separated by ;")
flags.DEFINE_integer("nll_samples", 200, "importance samples of the NLL", lower_bound=1)
flags.DEFINE_string("output", "study.jsonl", "file that gets a line for each job")

EXACT = svi.Exact(hvp="forward_over_reverse")
ADJOINTS = {"identity": svi.Truncated(0), "reference": svi.Exact(hvp=reference_product)}


def main(_):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path = Path(FLAGS.output)
    for text in filter(None, map(str.strip, FLAGS.jobs.split(";"))):
        for seed in map(int, FLAGS.seeds):
            key = {"data": FLAGS.data, "seed": seed, "job": text}
            lines = path.read_text().splitlines() if path.exists() else []
            if not any(key.items() <= json.loads(line).items() for line in lines):
                found = {**key, **run(FLAGS.data, seed, text)}
                with path.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)


def run(data, seed, text):
    """Trains and tests one job."""
    objective, settings = settings_of(text)
    study = DATA[data](seed, settings["encoder"])
    keras.utils.set_random_seed(seed)
    clock = Clock()
    start = None
    if settings["after"]:
        start = build(study, "vae", settings, seed)
        fit(start, study, clock, settings["after"], seed, stop=None)
    model = build(study, objective, settings, seed, start)
    chosen = f"val_{settings['stop']}"
    epochs = settings["epochs"] or study.epochs
    history = fit(model, study, clock, epochs, seed, bool(start), chosen)
    best = int(np.argmin(history[chosen]))
    kept = {n: round(history[n][best], 4) for n in ("encoder_signal", "adjoint_growth", "curvature")
            if n in history}
    training = {"epochs": settings["after"] + best + 1, "seconds": round(clock.seconds, 1)}
    training["valid"] = round(min(history[chosen]), 3)
    if settings["test"]:
        model.refinement.steps = settings["test"]
    found = {**measure(model, study, seed), **training, **kept}
    if settings["curve"]:
        if objective == "vae":  # The same networks, refined at test time only.
            model = build(study, "vae_svi", settings, seed, model)
        found |= curve(model, study, seed)
    return found


def rule_of(settings):
    """Arguments of the layer that say how to step."""
    kind, size = settings["rule"], settings["step"]
    if kind == "plain":
        return {"step_size": size}
    if kind == "natural":
        return {"update": svi.NaturalGradient(size, clip_norm=5.0)}
    if kind == "steps":
        return {"update": svi.LearnedSteps(settings["K"], size)}
    return {"update": svi.LearnedUpdate(step_size=size)}


def objective_of(name, settings):
    """What `SemiAmortizedVAE` takes as its objective."""
    kind = PARTS.get(settings["through"])
    if settings["iw"]:
        return importance_weighted(kind or name, settings["iw"])()
    return kind() if kind else name


def build(study, objective, settings, seed, start=None):
    """A compiled model, with the weights of the VAE `start` if there is one."""
    beta = 1.0 if start else linear_kl_weight(study.anneal_steps, start=0.1)
    weighted = objective == "savae" and settings["through"] != "theta"
    more = {"amortized_weight": settings["weight"]} if weighted else {}
    if settings["path"]:
        more["path_weight"] = settings["path"]
    count = 0 if objective == "vae" else settings["K"]
    steps = {0: count, settings["until"]: 0} if settings["until"] else count
    refinement = SemiAmortizedRefinement(
        steps=steps, samples=settings["S"], antithetic=bool(settings["mirrored"]),
        adjoint=ADJOINTS.get(settings["through"], EXACT), **rule_of(settings))
    model = SemiAmortizedVAE(
        None if objective == "svi" else study.encoder(), study.decoder(),
        objective=objective_of(objective, settings),
        latent_size=study.latent_size, refinement=refinement, seed=seed,
        beta=beta, **more)
    rate = study.learning_rate * settings["rate"]
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0), steps_per_execution=20)
    model(study.train[:1])
    if start:
        for part in ("encoder", "decoder"):
            getattr(model, part).set_weights(getattr(start, part).get_weights())
    return model


def stream(rows, batch_size, seed):
    """Shuffled batches without end; tf.data's tuner would hold up the ends of epochs."""
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=seed).repeat()
    return data.batch(batch_size).prefetch(4).with_options(options)


def batches(rows, size=200):
    """The rows once, in order."""
    return tf.data.Dataset.from_tensor_slices(rows).batch(size)


class Clock(keras.callbacks.Callback):
    """CPU seconds of training; the first step of a program, which compiles, counts as others."""

    def __init__(self):
        super().__init__()
        self.seconds, self._spent = 0.0, []

    def on_epoch_begin(self, epoch, logs=None):
        self._spent = []

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        self._spent.append(time.process_time() - self._began)

    def on_epoch_end(self, epoch, logs=None):
        first = self._spent[1] if epoch == 0 and len(self._spent) > 1 else self._spent[0]
        self.seconds += first + sum(self._spent[1:])


class ValidationNll(keras.callbacks.Callback):
    """Adds val_iw_nll to the logs: the IW-NLL of the validation rows with 50 samples."""

    def __init__(self, study):
        super().__init__()
        self._rows = batches(study.valid).cache()

    def on_epoch_end(self, epoch, logs=None):
        nll = evaluation.importance_weighted_nll(self.model, self._rows, samples=50, seed=0)
        logs["val_iw_nll"] = float(np.mean(nll))


def fit(model, study, clock, epochs, seed, started=False, stop="val_bound"):
    """Trains; returns the history.

    `started`: from a trained VAE, with no annealing to await. `stop`: the number of the validation
    rows that ends training and chooses the weights; None for neither.
    """
    each = study.epoch_steps or len(study.train) // study.batch_size // 20 * 20
    annealed = 0 if started else -(-study.anneal_steps // each)
    callbacks = [clock] + [ValidationNll(study)] * (stop == "val_iw_nll")
    if stop:
        callbacks.append(keras.callbacks.EarlyStopping(
            stop, mode="min", patience=study.patience, restore_best_weights=True,
            start_from_epoch=annealed))
    valid = batches(study.valid).cache()
    return model.fit(
        stream(study.train, study.batch_size, seed), epochs=epochs, steps_per_epoch=each,
        validation_data=valid, callbacks=callbacks, verbose=0).history


def curve(model, study, seed):
    """{"curve": {K: bound}, "nll_curve": {K: NLL}} of the test rows, nats per example.

    The importance samples are drawn from the posterior after K steps.
    """
    found = {"curve": {}, "nll_curve": {}}
    for steps in (0, 1, 2, 3, 5, 10, 20):
        model.refinement.steps = steps
        bounds = evaluation.evaluate_bounds(model, batches(study.test).repeat(5), seed=0).bound
        found["curve"][steps] = round(float(np.mean(bounds)), 3)
        if steps >= 5:
            found["nll_curve"][steps] = round(float(np.mean(importance_nll(model, study, seed))), 3)
    return found


def importance_nll(model, study, seed):
    """-log p(x) of the test rows, estimated with the model's own posterior."""
    data = batches(study.test)
    return evaluation.importance_weighted_nll(model, data, samples=FLAGS.nll_samples, seed=seed)


def measure(model, study, seed):
    """Numbers on the test rows, nats per example."""
    data = batches(study.test)
    bounds = evaluation.evaluate_bounds(model, data.repeat(5), seed=0)  # 5 draws of each.
    nll = importance_nll(model, study, seed)
    mean = {
        "bound": bounds.bound, "kl": bounds.kl, "iw_nll": nll, "encoder": bounds.amortized_bound}
    return {name: round(float(np.mean(values)), 3) for name, values in mean.items()}


if __name__ == "__main__":
    app.run(main)
