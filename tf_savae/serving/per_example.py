"""Tensor functions that compute each row of a batch independently of the other rows.

A server may batch several requests, and a client may send examples in any order. Therefore the
noise of a row depends only on the seed, not on the row's index. Row i of every result equals the
Keras model's result for a batch that consists of example i.
"""

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest
from tf_savae.models import SemiAmortizedVAE
from tf_savae.models.row_sampling import SamplingOverride, decode_rows, prior_codes
from tf_savae.objectives.lookup import has_latent
from tf_savae.probability import importance_weighted_log_likelihood
from tf_savae.samplers.per_row import row_seeds

__all__ = ["PerExample", "decoding", "prior_rows"]


class PerExample:
    """Functions of a built `SemiAmortizedVAE` on examples x [B, ...]; steps K is a tensor.

    Args:
      model: the model.
      jit: compiles functions of tensors with XLA, or returns them unchanged.
    """

    def __init__(self, model: SemiAmortizedVAE, jit: Callable[[Callable], Callable]) -> None:
        self.model = model
        self.encode = jit(self._encode)
        self.infer = jit(self._infer)
        self.elbo = jit(self._elbo)
        self.log_likelihood = jit(self._log_likelihood)
        self.code = jit(self._code)

    def _encode(self, x):
        """Returns lambda_0."""
        return self.model.encoded_parameters(x)

    def _infer(self, x, steps, seed):
        """Returns lambda_K, as `model.infer` computes it."""
        batch_objective = self._batch_objective(x, seeds.as_seed(seed), steps)
        return self._refined(batch_objective, batch_objective.encode())

    def _elbo(self, x, steps, seed):
        """Returns the ELBOs at lambda_0 and lambda_K, nats [B]: minus `model.negative_elbo`."""
        batch_objective = self._batch_objective(x, seeds.as_seed(seed), steps)
        initial = batch_objective.encode()
        refined = self._refined(batch_objective, initial)

        def elbo(parameters, noise):
            return -batch_objective.generator.terms(parameters, batch_objective.theta, noise).bound

        return elbo(initial, batch_objective.first_seed()), elbo(
            refined, batch_objective.final_seed()
        )

    def _log_likelihood(self, x, samples, steps, seed):
        """Returns `model.log_likelihood`, float64 nats [B]."""
        first, second = seeds.split(seed, 2)
        batch_objective = self._batch_objective(x, first, steps)
        refined = self._refined(batch_objective, batch_objective.encode())
        return importance_weighted_log_likelihood(
            lambda z, noise: batch_objective.generator.log_likelihood(
                z, batch_objective.theta, noise
            ),
            batch_objective.generator.family.distribution(refined),
            self.model.prior.distribution(),
            samples,
            second,
        )

    def _code(self, x, steps, seed):
        """Returns z [B, Z] from the refined posterior and the decoding seed of each row, [B, 2].

        Both are as in `model.reconstruct`.
        """
        refining, drawing, noise = seeds.split(seed, 3)
        batch_objective = self._batch_objective(x, refining, steps, _first_row)
        refined = self._refined(batch_objective, batch_objective.encode())
        z = batch_objective.generator.family.draw(refined, drawing)
        return z, tf.repeat(_first_row(noise)[None], tf.shape(z)[0], axis=0)

    def _batch_objective(self, x, seed, steps, key=None):
        family = _SharedNoise(self.model.family, key)
        return self.model.batch_objective(x, seed, steps=steps, family=family)

    def _refined(self, batch_objective, initial):
        return self.model.refinement.refine(
            batch_objective.objective,
            initial,
            batch_objective.theta,
            batch_objective.seed,
            steps=batch_objective.steps,
            adjoint="stop",
        )


class _SharedNoise(SamplingOverride):
    """Sampling in which all rows share the noise of a batch of one.

    Args:
      family: the family.
      key: maps a seed to the seed that a batch of one uses; by default the identity.
    """

    def __init__(self, family, key=None):
        super().__init__(family)
        self._key = key or (lambda seed: seed)

    def draw(self, parameters, seed):
        """Returns z [B, Z], differentiable in the parameters; the noise is drawn once."""
        own = self._key(seeds.as_seed(seed))

        def one(parameters):
            row = tf.nest.map_structure(lambda p: p[None], parameters)
            return self._family.distribution(row).sample(seed=own)[0]

        return tf.vectorized_map(one, parameters, warn=False)


def _first_row(seed):
    """Returns the seed of row 0 when each row has its own seed."""
    return row_seeds(seed, 1)[0]


def prior_rows(model: keras.Model, n: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns z [n, Z] from the prior and decoding seeds [n, 2], as in `model.generate`.

    Args:
      model: the model; without latent variables, z has shape [n, 0].
      n: int32 scalar tensor.
      seed: int32 scalar tensor.
    """
    seed = seeds.as_seed(seed)
    if not has_latent(model):
        return tf.zeros([n, 0]), row_seeds(seed, n)
    latent, noise = seeds.split(seed, 2)
    return prior_codes(_without_xla(model), n, latent), row_seeds(noise, n)


def decoding(
    model: keras.Model,
    jit: Callable[[Callable], Callable],
    options: dict[str, Any],
    names: Sequence[str],
) -> Callable[..., Nest]:
    """Returns a function (z [B, Z], seeds [B, 2], *values) -> x for each row.

    Args:
      model: a built model.
      jit: compiles functions of tensors with XLA, or returns them unchanged.
      options: constant options of the decoder's `sample`.
      names: names of the options that are passed as the tensors `values`.
    """

    def decode(z, own, *values):
        given = dict(zip(names, values, strict=True))
        return decode_rows(_without_xla(model), z, own, **options, **given)

    return jit(decode)


def _without_xla(model):
    """Returns the model's parts that sampling needs, marked as not compiled with XLA."""
    prior = getattr(model, "prior", None)
    return types.SimpleNamespace(decoder=model.decoder, prior=prior, compiled=False)
