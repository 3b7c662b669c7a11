"""Serve each row of a batch as if it were alone, in pure tensors.

A server may put requests together, and a client may send examples in any order: so the noise of a
row depends on the seed alone, not on the row's place. Row i of every answer here is what the Keras
model answers for the batch of the one example i.
"""

import types

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.models.row_sampling import SamplingOverride, decode_rows, prior_codes
from tf_savae.objectives.lookup import has_latent
from tf_savae.probability import importance_weighted_log_likelihood
from tf_savae.samplers.row_seeds import row_seeds

__all__ = ["Alone", "decoding", "prior_rows"]


class Alone:
    """The answers of a built `SemiAmortizedVAE` about examples x [B, ...]; steps K is a tensor.

    Args:
      model: the model.
      jit: wraps functions of tensors in XLA, or leaves them as they are.
    """

    def __init__(self, model, jit):
        self.model = model
        self.encode = jit(self._encode)
        self.infer = jit(self._infer)
        self.elbo = jit(self._elbo)
        self.log_likelihood = jit(self._log_likelihood)
        self.code = jit(self._code)

    def _encode(self, x):
        """lambda_0."""
        return self.model.encoded_parameters(x)

    def _infer(self, x, steps, seed):
        """lambda_K, as `model.infer` finds it."""
        problem = self._problem(x, seeds.as_seed(seed), steps)
        return self._refined(problem, problem.encode())

    def _elbo(self, x, steps, seed):
        """The ELBO at lambda_0 and at lambda_K, nats [B]: -`model.negative_elbo`."""
        problem = self._problem(x, seeds.as_seed(seed), steps)
        initial = problem.encode()
        refined = self._refined(problem, initial)

        def elbo(parameters, noise):
            return -problem.generator.terms(parameters, problem.theta, noise).bound

        return elbo(initial, problem.first_seed()), elbo(refined, problem.final_seed())

    def _log_likelihood(self, x, samples, steps, seed):
        """`model.log_likelihood`, float64 nats [B]."""
        first, second = seeds.split(seed, 2)
        problem = self._problem(x, first, steps)
        refined = self._refined(problem, problem.encode())
        return importance_weighted_log_likelihood(
            lambda z, noise: problem.generator.log_likelihood(z, problem.theta, noise),
            problem.generator.family.distribution(refined),
            self.model.prior.distribution(),
            samples,
            second,
        )

    def _code(self, x, steps, seed):
        """z [B, Z] from the refined posterior, and each row's seed of decoding, [B, 2].

        Those of `model.reconstruct`.
        """
        refining, drawing, noise = seeds.split(seed, 3)
        problem = self._problem(x, refining, steps, _first_row)
        refined = self._refined(problem, problem.encode())
        z = problem.generator.family.draw(refined, drawing)
        return z, tf.repeat(_first_row(noise)[None], tf.shape(z)[0], axis=0)

    def _problem(self, x, seed, steps, key=None):
        family = _EachAlone(self.model.family, key)
        return self.model.problem(x, seed, steps=steps, family=family)

    def _refined(self, problem, initial):
        return self.model.refinement.refine(
            problem.objective,
            initial,
            problem.theta,
            problem.seed,
            steps=problem.steps,
            adjoint="stop",
        )


class _EachAlone(SamplingOverride):
    """All rows draw with one noise: that of a batch of one.

    Args:
      family: the family.
      key: from a seed to the seed that a batch of one uses; by default the seed itself.
    """

    def __init__(self, family, key=None):
        super().__init__(family)
        self._key = key or (lambda seed: seed)

    def draw(self, parameters, seed):
        """z [B, Z]; differentiable in the parameters. The noise itself is drawn once."""
        own = self._key(seeds.as_seed(seed))

        def one(parameters):
            row = tf.nest.map_structure(lambda p: p[None], parameters)
            return self._family.distribution(row).sample(seed=own)[0]

        return tf.vectorized_map(one, parameters, warn=False)


def _first_row(seed):
    """The seed of row 0 where rows have seeds of their own."""
    return row_seeds(seed, 1)[0]


def prior_rows(model, n, seed):
    """z [n, Z] from the prior and each row's seed of decoding [n, 2]: `model.generate`'s.

    Args:
      model: with a latent code; without one z is [n, 0].
      n: a tensor.
      seed: int32 scalar tensor.
    """
    seed = seeds.as_seed(seed)
    if not has_latent(model):
        return tf.zeros([n, 0]), row_seeds(seed, n)
    latent, noise = seeds.split(seed, 2)
    return prior_codes(_without_xla(model), n, latent), row_seeds(noise, n)


def decoding(model, jit, options, names):
    """A function (z [B, Z], seeds [B, 2], *values) -> x for each row.

    Args:
      model: built.
      jit: wraps functions of tensors in XLA, or leaves them as they are.
      options: for the decoder's `sample`, always the same.
      names: of the options whose `values` are tensors.
    """

    def decode(z, own, *values):
        given = dict(zip(names, values, strict=True))
        return decode_rows(_without_xla(model), z, own, **options, **given)

    return jit(decode)


def _without_xla(model):
    """The model's parts for drawing rows, as if it had not been compiled with XLA."""
    prior = getattr(model, "prior", None)
    return types.SimpleNamespace(decoder=model.decoder, prior=prior, compiled=False)
