"""Evaluate the ELBO and its cost against the number of refinement steps at test time."""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.noise_streams import OptimumStream
from tf_savae.evaluation.dataset_pass import check_latent, one_pass
from tf_savae.evaluation.monte_carlo import average_terms
from tf_savae.models.compilation.trace_cache import compiled_for

__all__ = ["StepsCurve", "steps_curve"]


class StepsCurve(NamedTuple):
    """ELBO terms and times for each K, then for each tolerance of early stopping; float64 nats."""

    labels: list  # [R]: "K=5", or "until < 0.01 nats, 8 samples"
    steps: Any  # [R]: K, or the mean number of steps that were taken
    nll: Any  # [R, N]: -log p(x | z), a mean over samples
    kl: Any  # [R, N]
    milliseconds: Any  # [R]: encoder and refinement per example, median over batches
    taken: Any  # [R, N]: steps of each example

    @property
    def bound(self) -> np.ndarray:
        """The negative ELBO, [R, N]."""
        return self.nll + self.kl


def steps_curve(
    model: keras.Model,
    dataset: tf.data.Dataset,
    steps: Sequence[int] = (0, 1, 2, 5, 10, 20, 40),
    tolerances: Sequence[float] = (),
    *,
    stopping_samples: int = 8,
    noises: int = 20,
    seed: int = 0,
    label: str | None = None,
) -> StepsCurve:
    """Evaluates bound, KL and time against K, and with early stopping.

    All ELBOs are means over the same samples of z (common random numbers), so that the rows differ
    only by inference. Times are measured on this machine, after compilation. With early stopping, a
    batch ends when all its examples have stopped.

    Args:
      model: a compiled `SemiAmortizedVAE`.
      dataset: finite `tf.data.Dataset` of x, or of (x, y, sample_weight) with weights [B];
        examples of weight 0 are left out.
      steps: the Ks.
      tolerances: nats; for each, an example stops at the first step that gains less (see
        `early_stopping` of `tf_savae.svi.refine`), at the latest after the largest K.
      stopping_samples: samples of z in each step with early stopping. These steps use the same
        noise, so that their ELBOs are comparable. With a single sample they overfit it, and the
        ELBO under other noise may get worse.
      noises: samples of z in each reported ELBO.
      seed: int.
      label: text beside progress bars; None shows no bar.

    Raises:
      ValueError: the model has no latent variables, or a number is out of its range.

    >>> import keras
    >>> from tf_savae import models, networks
    >>> decoder = networks.DistributionDecoder(keras.layers.Dense(3), "normal")
    >>> model = models.SemiAmortizedVAE(keras.layers.Dense(4), decoder, latent_size=2)
    >>> data = tf.data.Dataset.from_tensor_slices(tf.ones([4, 3])).batch(2)
    >>> curve = steps_curve(model, data, steps=(0, 2), tolerances=(0.1,), noises=2)
    >>> curve.labels, curve.bound.shape
    (['K=0', 'K=2', 'until < 0.1 nats, 8 samples'], (3, 4))
    """
    check_latent(model)
    validation.positive_int("noises", noises)
    steps = [validation.non_negative_int("steps", k) for k in steps]
    tolerances = [validation.positive("tolerances", t, zero=True) for t in tolerances]
    if not steps:
        raise ValueError("steps: expected at least one K, got none.")
    validation.positive_int("stopping_samples", stopping_samples)
    ways = _ways(model, steps, tolerances, stopping_samples)
    judge = compiled_for(model, lambda x, lam, seed: _terms(model, x, lam, noises, seed))
    clock = _Clock()

    def rows(x, seed):
        answers = [clock.timed(name, run, x, seed) for name, run in ways.items()]
        terms = [judge(x, parameters, seed) for parameters, _ in answers]
        taken = [count for _, count in answers]
        columns = (*zip(*terms, strict=True), taken)
        return tuple(np.stack([np.asarray(t) for t in column], axis=1) for column in columns)

    def shown(part):
        return {"bound": float(np.mean(part[0][:, -1] + part[1][:, -1]))}

    nll, kl, taken = (
        part.T for part in one_pass(rows, dataset, seed, model=model, label=label, shows=shown)
    )
    return StepsCurve(list(ways), taken.mean(axis=1), nll, kl, clock.medians(list(ways)), taken)


def _ways(model, steps, tolerances, samples):
    """Returns {label: compiled function (x, seed) -> (parameters, steps taken [B])}."""
    fixed = compiled_for(model, lambda x, seed, count: _refined(model, x, seed, count))
    ways = {f"K={k}": functools.partial(fixed, count=tf.constant(k)) for k in steps}
    for tolerance in tolerances:
        ways[f"until < {tolerance:g} nats, {samples} samples"] = compiled_for(
            model, lambda x, seed, t=tolerance: _stopped(model, x, seed, max(steps), t, samples)
        )
    return ways


def _refined(model, x, seed, count):
    """Refines by `count` steps, a tensor, so that all K share one compilation."""
    parameters = _refine(model, x, seed, steps=count)
    return parameters, tf.fill([tf.shape(tf.nest.flatten(x)[0])[0]], count)


def _stopped(model, x, seed, limit, tolerance, samples):
    stopping = {"early_stopping": tolerance, "samples": samples, "return_trace": True}
    parameters, trace = _refine(model, x, seed, steps=limit, **stopping)
    return parameters, trace.steps


def _refine(model, x, seed, **settings):
    batch_objective = model.batch_objective(x, seed)
    arguments = (
        batch_objective.objective,
        batch_objective.encode(),
        batch_objective.theta,
        batch_objective.seed,
    )
    return model.refinement.refine(*arguments, adjoint="stop", **settings)


def _terms(model, x, parameters, noises, seed):
    batch_objective = model.batch_objective(x, seed)
    return average_terms(
        batch_objective, parameters, noises, seeds.fold(seed, OptimumStream.REPORT)
    )


class _Clock:
    """Measures milliseconds per example by name, without the first call for each shape.

    That call compiles the function.
    """

    def __init__(self):
        self._times = {}
        self._compiled = set()

    def timed(self, name, run, x, seed):
        shapes = tuple(tuple(leaf.shape) for leaf in tf.nest.flatten(x))
        if (name, shapes) not in self._compiled:
            self._compiled.add((name, shapes))
            run(x, seed)
        began = time.perf_counter()
        answer = run(x, seed)
        tf.nest.map_structure(lambda t: t.numpy(), answer)  # Wait for the device.
        seconds = time.perf_counter() - began
        self._times.setdefault(name, []).append(1e3 * seconds / shapes[0][0])
        return answer

    def medians(self, names):
        return np.array([np.median(self._times[name]) for name in names])
