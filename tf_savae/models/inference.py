"""Methods of a trained model: posterior, ELBO, log-likelihood, samples."""

from typing import Any

import tensorflow as tf

from tf_savae.core import seeds, validation
from tf_savae.core.typing import Distribution, MixedIn, Nest, Seed
from tf_savae.models.row_sampling import (
    check_built,
    decode_rows,
    posterior_codes,
    posterior_of_rows,
    prior_codes,
)
from tf_savae.models.validation.arrays import refuse_sparse
from tf_savae.probability import importance_weighted_log_likelihood
from tf_savae.probability.posterior_mean import posterior_mean

__all__ = ["Inference"]

_STOPPING_SAMPLES = 8


class Inference(MixedIn):
    """Inference methods of `SemiAmortizedVAE`; each is compiled once per set of options."""

    def infer(
        self,
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
        steps = _checked(self._steps(steps))
        options = _checked_options(early_stopping, samples, fall_back)
        run = self._compiled(
            ("infer", steps, *options),
            lambda x, seed: self.refined_parameters(x, steps, seed, *options),
        )
        return self.family.distribution(run(self.checked_data(x), _seed(seed)))

    def refined_parameters(
        self,
        x: Nest,
        steps: int | None = None,
        seed: Seed = 0,
        early_stopping: float | None = None,
        samples: int | None = None,
        fall_back: int | None = None,
    ) -> Nest:
        """lambda_K for x: no gradient crosses, dropout off, beta 1; arguments as for `infer`."""
        steps = validation.non_negative_int("steps", self._steps(steps))
        if samples is None:
            least = 1 if early_stopping is None else _STOPPING_SAMPLES
            samples = max(self.refinement.samples, least)
        if fall_back is None:
            fall_back = self.refinement.fall_back
        problem = self.problem(x, _seed(seed), steps=steps)
        initial = problem.encode()
        return self.refinement.refine(
            problem.objective,
            initial,
            problem.theta,
            problem.seed,
            steps=steps,
            adjoint="stop",
            early_stopping=early_stopping,
            samples=samples,
            fall_back=validation.non_negative_int("fall_back", fall_back),
        )

    def negative_elbo(
        self, x: Nest, steps: int | None = None, seed: Seed | None = None
    ) -> tf.Tensor:
        """The negative ELBO of each example after K steps, beta 1, [B] nats.

        One sample of z per example, drawn afresh after the last step. steps=0 gives the amortized
        bound. Refining on test data is fair: any posterior gives a bound. As for `infer`, an
        example's noise belongs to its row.
        """
        steps = _checked(self._steps(steps))

        def run(x, seed):
            problem = self.problem(x, seed, steps=steps)
            refined, _ = problem.refined(problem.encode(), adjoint="stop")
            return problem.outcome_at(refined).terms.bound

        return self._compiled(("negative_elbo", steps), run)(self.checked_data(x), _seed(seed))

    def log_likelihood(
        self, x: Nest, samples: int = 500, steps: int | None = None, seed: Seed | None = None
    ) -> tf.Tensor:
        """Importance-weighted estimate of log p(x), [B] float64 nats (Burda et al. 2016).

        The proposal is the refined posterior (steps=0: the encoder's). Memory does not grow with
        `samples`. As for `infer`, an example's noise belongs to its row.
        """
        samples = validation.positive_int("samples", samples)
        steps = _checked(self._steps(steps))

        def run(x, seed):
            first, second = seeds.split(seed, 2)
            problem = self.problem(x, first, steps=steps)
            refined, _ = problem.refined(problem.encode(), adjoint="stop")
            return importance_weighted_log_likelihood(
                lambda z, noise: problem.generator.log_likelihood(z, problem.theta, noise),
                self.family.distribution(refined),
                self.prior.distribution(),
                samples,
                second,
            )

        estimate = self._compiled(("log_likelihood", samples, steps), run)
        return estimate(self.checked_data(x), _seed(seed))

    def generate(self, n: int, seed: Seed | None = None, first: int = 0, **options: Any) -> Nest:
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
        check_built(self)
        latent, noise = seeds.split(_seed(seed), 2)
        return decode_rows(self, prior_codes(self, n, latent, first), noise, first, **options)

    def reconstruct(
        self,
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
          options: for the decoder's `sample`: numbers and strings, such as temperature, for all
            rows; an array, tensor or list has one entry for each row, [B, ...], such as labels, or
            one for all of them, [1, ...].

        Raises:
          ValueError: x cannot be data of this model, the decoder has no such option, or an array
            has another number of entries.
        """
        first = validation.non_negative_int("first", first)
        steps = _checked(self._steps(steps))
        refining, drawing, noise = seeds.split(_seed(seed), 3)
        parameters = posterior_of_rows(self, self.checked_data(x), refining, first, steps)
        if validation.boolean("mean", mean):
            z = posterior_mean(self.family.distribution(parameters))
        else:
            z = posterior_codes(self, parameters, drawing, first)
        return decode_rows(self, z, noise, first, **options)

    def checked_data(self, x: Nest) -> Nest:
        """x as tensors in the weights' precision, checked; makes the weights if there are none.

        Args:
          x: data [B, ...], a nest of arrays.

        Raises:
          ValueError: x cannot be data of this model.
        """
        refuse_sparse(x)
        x = self._standard(x)
        self._check_arrays(x)
        self.ensure_built(x)
        return x

    def _compiled(self, key, function):
        """`function(x, seed)` as a tf.function, made once per key and settings of the model."""
        functions = self._functions_now()
        if key not in functions:
            jit = self.jit_compile is True if self.compiled else False
            watched = self._watched(function)
            functions[key] = tf.function(watched, jit_compile=jit, autograph=False)
        return functions[key]


def _checked(steps):
    """Before it is a key: 5.0 and True are equal to 5 and 1."""
    return validation.non_negative_int("steps", steps)


def _checked_options(early_stopping, samples, fall_back):
    return (
        validation.positive("early_stopping", early_stopping, optional=True, zero=True),
        None if samples is None else validation.positive_int("samples", samples),
        None if fall_back is None else validation.non_negative_int("fall_back", fall_back),
    )


def _seed(seed):
    return seeds.as_seed(0 if seed is None else seed)
