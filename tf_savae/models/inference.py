"""Inference methods of `SemiAmortizedVAE`: posteriors, bounds, likelihoods and samples.

Each is a function of the model, compiled once per set of options and settings.
"""

from typing import Any

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import Distribution, Nest, Seed
from tf_savae.models.row_sampling import (
    check_built,
    decode_rows,
    posterior_codes,
    posterior_of_rows,
    prior_codes,
)
from tf_savae.probability import importance_weighted_log_likelihood
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = [
    "generate",
    "infer",
    "log_likelihood",
    "negative_elbo",
    "reconstruct",
    "refined_parameters",
]

_STOPPING_SAMPLES = 8


def infer(
    model: Any,
    x: Nest,
    steps: int | None = None,
    seed: Seed | None = None,
    early_stopping: float | None = None,
    samples: int | None = None,
    fall_back: int | None = None,
) -> Distribution:
    """The posterior q(z; lambda_K) of each example, a TFP distribution.

    Args:
      x: data [B, ...].
      steps: K; by default the refinement layer's own (0 with objective "vae", whose posterior
        is the encoder's).
      seed: int or stateless seed [2]; 0 by default: the answer is reproducible. An example's
        noise belongs to its row: at another place in x it draws other noise.
      early_stopping: nats; stop refining an example after a step that gains less.
      samples: of z in each step; by default the refinement layer's own, and with
        early_stopping 8 if that is more: steps that stop by themselves all see the same
        noise, and with one sample of it they fit that sample.
      fall_back: draws of noise by which each example's refined ELBO is compared with the
        amortized one; where it is worse the answer is the encoder's. By default the
        refinement layer's own; 0 never falls back.
    """
    steps = _steps_of(model, steps)
    options = _checked_options(early_stopping, samples, fall_back)

    def run(x, seed):
        return refined_parameters(model, x, steps, seed, *options)

    compiled = _compiled(model, ("infer", steps, *options), run)
    return model.family.distribution(compiled(model.checked_data(x), _seed(seed)))


def refined_parameters(
    model: Any,
    x: Nest,
    steps: int | None = None,
    seed: Seed = 0,
    early_stopping: float | None = None,
    samples: int | None = None,
    fall_back: int | None = None,
) -> Nest:
    """lambda_K for x: no gradient crosses, dropout off, beta 1; arguments as for `infer`."""
    steps = _steps_of(model, steps)
    if samples is None:
        least = 1 if early_stopping is None else _STOPPING_SAMPLES
        samples = max(model.refinement.samples, least)
    if fall_back is None:
        fall_back = model.refinement.fall_back
    batch = model.problem(x, _seed(seed), steps=steps)
    initial = batch.encode()
    return model.refinement.refine(
        batch.objective,
        initial,
        batch.theta,
        batch.seed,
        steps=steps,
        adjoint="stop",
        early_stopping=early_stopping,
        samples=samples,
        fall_back=validation.non_negative_int("fall_back", fall_back),
    )


def negative_elbo(
    model: Any, x: Nest, steps: int | None = None, seed: Seed | None = None
) -> tf.Tensor:
    """The negative ELBO of each example after K steps, beta 1, [B] nats.

    One sample of z per example, drawn afresh after the last step. steps=0 gives the amortized
    bound. Refining on test data is fair: any posterior gives a bound. As for `infer`, an
    example's noise belongs to its row.
    """
    steps = _steps_of(model, steps)

    def run(x, seed):
        batch = model.problem(x, seed, steps=steps)
        refined, _ = batch.refined(batch.encode(), adjoint="stop")
        return batch.outcome_at(refined).terms.bound

    compiled = _compiled(model, ("negative_elbo", steps), run)
    return compiled(model.checked_data(x), _seed(seed))


def log_likelihood(
    model: Any, x: Nest, samples: int = 500, steps: int | None = None, seed: Seed | None = None
) -> tf.Tensor:
    """Importance-weighted estimate of log p(x), [B] float64 nats (Burda et al. 2016).

    The proposal is the refined posterior (steps=0: the encoder's). Memory does not grow with
    `samples`. As for `infer`, an example's noise belongs to its row.
    """
    samples = validation.positive_int("samples", samples)
    steps = _steps_of(model, steps)

    def run(x, seed):
        first, second = seeds.split(seed, 2)
        batch = model.problem(x, first, steps=steps)
        refined, _ = batch.refined(batch.encode(), adjoint="stop")
        return importance_weighted_log_likelihood(
            lambda z, noise: batch.generator.log_likelihood(z, batch.theta, noise),
            model.family.distribution(refined),
            model.prior.distribution(),
            samples,
            second,
        )

    compiled = _compiled(model, ("log_likelihood", samples, steps), run)
    return compiled(model.checked_data(x), _seed(seed))


def generate(model: Any, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
    """n samples of x: z from the prior, x from the decoder.

    Sample i depends on (seed, first + i) and its own options alone, so any n draws the
    beginning of one series.

    Args:
      n: how many.
      seed: int or stateless seed [2]; 0 by default.
      first: number of the first sample, to go on with a series.
      options: for the decoder's `sample`: numbers and strings, such as temperature, for all
        rows; an array, tensor or list has one entry for each row, [n, ...], such as labels, or
        one for all of them, [1, ...].

    Raises:
      ValueError: the model has no weights yet, the decoder has no such option, or an array
        has another number of entries.
    """
    n = validation.positive_int("n", n)
    first = validation.non_negative_int("first", first)
    check_built(model)
    latent, noise = seeds.split(_seed(seed), 2)
    return decode_rows(model, prior_codes(model, n, latent, first), noise, first, **options)


def reconstruct(
    model: Any,
    x: Nest,
    seed: Seed | None = None,
    steps: int | None = None,
    first: int = 0,
    mean: bool = False,
    **options: Any,
) -> Nest:
    """One x' for each example, decoded from its refined posterior.

    Row i depends on (x[i], seed, first + i) and its own options alone.

    Args:
      x: data [B, ...].
      seed: int or stateless seed [2]; 0 by default.
      steps: K, as for `infer`.
      first: number of the first row, for an x that is part of more data.
      mean: decode the posterior's mean and not a sample of z.
      options: as for `generate`, with entries for the B rows.

    Raises:
      ValueError: x cannot be data of this model, the decoder has no such option, or an array
        has another number of entries.
    """
    first = validation.non_negative_int("first", first)
    steps = _steps_of(model, steps)
    refining, drawing, noise = seeds.split(_seed(seed), 3)
    parameters = posterior_of_rows(model, model.checked_data(x), refining, first, steps)
    if validation.boolean("mean", mean):
        z = posterior_mean(model.family.distribution(parameters))
    else:
        z = posterior_codes(model, parameters, drawing, first)
    return decode_rows(model, z, noise, first, **options)


def _compiled(model, key, function):
    """`function(x, seed)` as a tf.function, made once per key and settings of the model."""
    functions = model._functions_now()
    if key not in functions:
        jit = model.jit_compile is True if model.compiled else False
        watched = model._watched(function)
        functions[key] = tf.function(watched, jit_compile=jit, autograph=False)
    return functions[key]


def _steps_of(model, steps):
    """K as an int, before it is part of a key: 5.0 and True are equal to 5 and 1."""
    return validation.non_negative_int("steps", model._steps(steps))


def _checked_options(early_stopping, samples, fall_back):
    return (
        validation.positive("early_stopping", early_stopping, optional=True, zero=True),
        None if samples is None else validation.positive_int("samples", samples),
        None if fall_back is None else validation.non_negative_int("fall_back", fall_back),
    )


def _seed(seed):
    return seeds.as_seed(0 if seed is None else seed)
