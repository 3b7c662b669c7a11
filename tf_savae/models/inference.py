"""Inference methods of `SemiAmortizedVAE`: posteriors, bounds, likelihoods and samples.

Each is compiled once per set of options and settings of the model.
"""

from typing import Any

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import Distribution, Nest, Seed, TensorLike
from tf_savae.models.compilation import trace_cache
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
    "decode",
    "encode",
    "generate",
    "infer",
    "log_likelihood",
    "negative_elbo",
    "reconstruct",
    "refined_parameters",
    "sample",
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
    """Returns the refined posterior q(z; lambda_K) of each example, a TFP distribution.

    `encode` returns the posterior before refinement.

    Args:
      x: data [B, ...].
      steps: K; by default that of the refinement layer (0 with objective "vae", whose posterior
        is the encoder's).
      seed: int or stateless seed [2]; 0 by default, so that the result is reproducible. The noise
        of an example depends on its row in x.
      early_stopping: nats; stop refining an example after a step that gains less.
      samples: samples of z in each step; by default those of the refinement layer, with
        early_stopping at least 8: all steps then use the same noise, and would overfit a
        single sample.
      fall_back: number of noise samples with which each example's refined ELBO is compared with
        the ELBO at lambda_0; if it is worse, the result is lambda_0. By default that of the
        refinement layer; 0 never falls back.
    """
    steps = _steps_of(model, steps)
    options = _checked_options(early_stopping, samples, fall_back)

    def run(x, seed):
        return refined_parameters(model, x, steps, seed, *options)

    compiled = trace_cache.compiled(model, ("infer", steps, *options), run)
    return model.family.distribution(compiled(model.checked_data(x), _seed(seed)))


def encode(model: Any, x: Nest) -> Distribution:
    """Returns the encoder's posterior q(z; lambda_0) of each example, a TFP distribution.

    Equal to `infer(x, steps=0)`. For a model trained with refinement, `infer` has a better ELBO.
    Without an encoder the result is the prior. `encoded_parameters` returns lambda_0 itself.

    Args:
      x: data [B, ...].

    Raises:
      ValueError: x cannot be data of this model.
    """
    return infer(model, x, steps=0)


def refined_parameters(
    model: Any,
    x: Nest,
    steps: int | None = None,
    seed: Seed = 0,
    early_stopping: float | None = None,
    samples: int | None = None,
    fall_back: int | None = None,
) -> Nest:
    """Returns lambda_K for x, without gradients, dropout off, beta 1; arguments as for `infer`."""
    steps = _steps_of(model, steps)
    if samples is None:
        least = 1 if early_stopping is None else _STOPPING_SAMPLES
        samples = max(model.refinement.samples, least)
    if fall_back is None:
        fall_back = model.refinement.fall_back
    batch = model.batch_objective(x, _seed(seed), steps=steps)
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
    """Returns the negative ELBO of each example after K steps, beta 1, [B] nats.

    Uses one new sample of z per example after the last step. steps=0 gives the bound at lambda_0.
    Refining on test data is valid: any posterior gives a bound. As for `infer`, the noise of an
    example depends on its row.
    """
    steps = _steps_of(model, steps)

    def run(x, seed):
        batch = model.batch_objective(x, seed, steps=steps)
        refined, _ = batch.refined(batch.encode(), adjoint="stop")
        return batch.outcome_at(refined).terms.bound

    compiled = trace_cache.compiled(model, ("negative_elbo", steps), run)
    return compiled(model.checked_data(x), _seed(seed))


def log_likelihood(
    model: Any, x: Nest, samples: int = 500, steps: int | None = None, seed: Seed | None = None
) -> tf.Tensor:
    """Returns the importance-weighted estimate of log p(x), [B] float64 nats (Burda et al. 2016).

    The proposal is the refined posterior (steps=0: the encoder's). Memory does not grow with
    `samples`. As for `infer`, the noise of an example depends on its row.
    """
    samples = validation.positive_int("samples", samples)
    steps = _steps_of(model, steps)

    def run(x, seed):
        first, second = seeds.split(seed, 2)
        batch = model.batch_objective(x, first, steps=steps)
        refined, _ = batch.refined(batch.encode(), adjoint="stop")
        return importance_weighted_log_likelihood(
            lambda z, noise: batch.generator.log_likelihood(z, batch.theta, noise),
            model.family.distribution(refined),
            model.prior.distribution(),
            samples,
            second,
        )

    compiled = trace_cache.compiled(model, ("log_likelihood", samples, steps), run)
    return compiled(model.checked_data(x), _seed(seed))


def decode(
    model: Any,
    z: TensorLike,
    seed: Seed | None = None,
    first: int = 0,
    mean: bool = False,
    **options: Any,
) -> Nest:
    """Decodes z: returns samples from p(x | z), or its mean.

    `generate` decodes samples of the prior, and `reconstruct` samples of posteriors; here z may be
    any array, such as an interpolation. Row i depends only on (z[i], seed, first + i) and its own
    options.

    Args:
      z: latent variables [B, Z].
      seed: int or stateless seed [2]; 0 by default.
      first: number of the first row, if z is a part of a larger array.
      mean: return the mean of p(x | z), such as the probabilities of pixels, instead of samples;
        the decoder needs a method `distribution`.
      options: as for `generate`, with entries for the B rows.

    Raises:
      ValueError: the model has no weights yet, z has a wrong shape, or the decoder has no such
        option or no mean.
    """
    first = validation.non_negative_int("first", first)
    check_built(model, "decode")
    z = _codes(model, z)
    if validation.boolean("mean", mean):
        return _decoded_mean(model, z, options)
    return decode_rows(model, z, _seed(seed), first, **options)


def sample(model: Any, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
    """Samples n examples of x; the same as `generate`."""
    return generate(model, n, seed, first, **options)


def generate(model: Any, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
    """Samples n examples of x: z from the prior, x from the decoder.

    Sample i depends only on (seed, first + i) and its own options, so that a larger n extends the
    same sequence.

    Args:
      n: number of samples.
      seed: int or stateless seed [2]; 0 by default.
      first: number of the first sample, to continue a sequence.
      options: options of the decoder's `sample`. Numbers and strings, such as temperature, apply
        to all rows; an array, tensor or list has one entry per row, [n, ...], such as labels, or
        one for all rows, [1, ...].

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
    """Reconstructs each example: decodes z from its refined posterior.

    Row i depends only on (x[i], seed, first + i) and its own options.

    Args:
      x: data [B, ...].
      seed: int or stateless seed [2]; 0 by default.
      steps: K, as for `infer`.
      first: number of the first row, if x is a part of a larger data set.
      mean: decode the posterior's mean instead of a sample of z.
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


def _codes(model, z):
    """Returns z as a tensor [B, Z] in the weights' precision."""
    z = tf.cast(tf.convert_to_tensor(z), model.variable_dtype)
    size = model.latent_size
    if z.shape.rank != 2 or z.shape[1] != size:
        raise ValueError(f"z: expected shape [B, {size}], got {z.shape.as_list()}.")
    validation.finite("z", z, "Remove NaN.")
    return z


def _decoded_mean(model, z, options):
    if not hasattr(model.decoder, "distribution"):
        raise ValueError(
            "mean: expected a decoder with a method distribution(z), got "
            f"{type(model.decoder).__name__}. Leave mean out to sample from p(x | z)."
        )
    if options:
        raise ValueError(
            f"{', '.join(options)}: expected no sampling options with mean=True, which does not "
            "sample. Leave them out."
        )
    mean = trace_cache.compiled(
        model, ("decode_mean",), lambda z: model.decoder.distribution(z).mean()
    )
    return mean(z)


def _steps_of(model, steps):
    """Returns K as an int, since it is part of a cache key: 5.0 and True equal 5 and 1."""
    return validation.non_negative_int("steps", model._steps(steps))


def _checked_options(early_stopping, samples, fall_back):
    return (
        validation.positive("early_stopping", early_stopping, optional=True, zero=True),
        None if samples is None else validation.positive_int("samples", samples),
        None if fall_back is None else validation.non_negative_int("fall_back", fall_back),
    )


def _seed(seed):
    return seeds.as_seed(0 if seed is None else seed)
