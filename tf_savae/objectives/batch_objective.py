"""`BatchObjective`: the ELBO of one batch, on which training objectives are defined."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_savae.core import seeds
from tf_savae.core.typing import Nest
from tf_savae.networks import Effects
from tf_savae.networks.generator_elbo import GeneratorElbo
from tf_savae.probability import ElboTerms
from tf_savae.svi.per_example import with_gradient

__all__ = ["Outcome", "BatchObjective", "LossWeights", "RefinementInfo", "at_constant_weights"]


class RefinementInfo(NamedTuple):
    """Negative ELBOs along the path of refinement, per example."""

    objective: Any  # Negative ELBO in nats, computed by step 0 with its noise.
    fell_back: Any = None  # Bool: examples that kept lambda_0; None if fallback is off.
    gradient: Any = None  # Nest like lambda_0, [B, ...]: gradient of `objective`, a constant.
    path: Any = None  # [K, B], nats: at lambda_0 to lambda_{K-1}. In training with gradients, and
    # None without `path_weight`.

    def where_refined(self, term: tf.Tensor) -> tf.Tensor:
        """Returns a term of the loss, [B], with zeros for examples that fell back to lambda_0."""
        if self.fell_back is None:
            return term
        return tf.where(self.fell_back, tf.zeros_like(term), term)


class Outcome(NamedTuple):
    """The result of a training objective; every tensor is per example, [B], in nats."""

    loss: Any
    terms: Any  # ElboTerms of the reported bound.
    amortized: Any  # ElboTerms at lambda_0, or None without an encoder.
    effects: Effects  # Updates of moving statistics, and losses added by layers.
    start: Any  # Objective before refinement, or None.
    end: Any  # Objective after refinement, or None.
    fell_back: Any = None  # Bool: kept lambda_0 because refinement made it worse; or None.


def _no_effects():
    """Returns the effects of an encoder without moving statistics and added losses."""
    return Effects([], [])


class LossWeights:
    """The weights of an objective's further terms, by name; `read` says which ones it looked at.

    >>> weights = LossWeights(path_weight=0.5)
    >>> weights["path_weight"], weights.read
    (0.5, {'path_weight'})
    """

    def __init__(self, **weights: float) -> None:
        self._weights = weights
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.read.add(name)
        return self.get(name)

    def get(self, name: str) -> float:
        """Returns a weight, 0.0 if there is none, without counting it as read."""
        return self._weights.get(name, 0.0)


@dataclasses.dataclass(frozen=True)
class BatchObjective:
    """The negative ELBO of one batch, with the encoder and the refinement that training uses.

    Attributes:
      generator: `PureGenerator`.
      theta: the result of `generator.theta` for this batch.
      encode: () -> lambda_0, the encoder's variational parameters for this batch.
      prior_parameters: () -> the variational parameters of the prior, where SVI starts.
      refine: (negative_elbo, initial, theta, seed, adjoint, path) -> (lambda_K, `RefinementInfo`,
        or None for K = 0); adjoint None uses the layer's own adjoint. path is whether
        `RefinementInfo.path` is needed with gradients.
      steps: K.
      beta: KL weight, a scalar.
      free_bits: minimum of the KL term, nats.
      seed: stateless seed of the batch.
      training: bool, whether dropout and similar layers are active.
      encoder_effects: () -> the `Effects` of the encoder's layers.
      antithetic: whether several samples come in mirrored pairs.
      loss_weights: `LossWeights` of the terms that the objective adds, `amortized_weight` and
        `path_weight`.
    """

    generator: Any
    theta: Any
    encode: Callable
    prior_parameters: Callable
    refine: Callable
    steps: int
    beta: Any
    free_bits: float
    seed: Any
    training: bool
    encoder_effects: Callable = _no_effects
    antithetic: bool = False
    loss_weights: LossWeights = dataclasses.field(default_factory=LossWeights)

    @property
    def amortized_weight(self) -> float:
        """The weight w of the term w ELBO(lambda_0) that objective "savae" adds for the encoder."""
        return self.loss_weights["amortized_weight"]

    @property
    def path_weight(self) -> float:
        """The weight of the mean ELBO at lambda_1 to lambda_{K-1} that `with_path` adds."""
        return self.loss_weights["path_weight"]

    @property
    def objective(self) -> GeneratorElbo:
        """The weighted negative ELBO, [B] nats, minimised by refinement and training.

        A function of (parameters, theta, seed), whose method `average` takes several seeds.
        """
        return GeneratorElbo(self.generator, self.weigh, self.training, self.antithetic)

    def weigh(self, terms: ElboTerms) -> tf.Tensor:
        """Returns nll + beta max(kl, free_bits) of `ElboTerms`, [B] nats."""
        return terms.weighted(self.beta, self.free_bits)

    def final_seed(self) -> tf.Tensor:
        """Returns the seed of the ELBO at lambda_K; no refinement step uses it."""
        return seeds.fold(self.seed, self.steps)

    def first_seed(self) -> tf.Tensor:
        """Returns the seed of refinement step 0, used for the ELBO at lambda_0."""
        return seeds.fold(self.seed, 0)

    def refined(self, initial: Nest, adjoint: Any = None) -> tuple[Nest, RefinementInfo | None]:
        """Refines `initial`; returns (lambda_K, `RefinementInfo`, or None for K = 0)."""
        path = bool(self.loss_weights.get("path_weight"))
        return self.refine(self.objective, initial, self.theta, self.seed, adjoint, path)

    def amortized_objective(self, initial: Nest, start: RefinementInfo | None) -> tf.Tensor:
        """Returns the objective at lambda_0, [B] nats, with theta held constant.

        The gradient with respect to lambda_0 was computed by refinement step 0. It is reused in a
        linear function of lambda_0, so no decoder pass is needed.

        Args:
          initial: lambda_0.
          start: the `RefinementInfo` of refinement; None for K = 0, which needs a decoder pass.
        """
        if start is None:
            fixed = at_constant_weights(self.theta)
            return self.objective(initial, fixed, self.first_seed())
        flat = tf.nest.flatten(initial), tf.nest.flatten(start.gradient)
        return with_gradient(start.objective, *flat)

    def amortized_terms(self, initial: Nest, start: RefinementInfo | None) -> ElboTerms | None:
        """Returns the `ElboTerms` at lambda_0 without a decoder pass; used by metrics only.

        Args:
          initial: lambda_0.
          start: the `RefinementInfo` of refinement; for None (K = 0) the result is None.
        """
        if start is None:
            return None
        initial = tf.nest.map_structure(tf.stop_gradient, initial)
        kl = self.generator.kl(initial, at_constant_weights(self.theta), self.first_seed())
        rest = self.weigh(ElboTerms(tf.zeros_like(kl), kl))
        return ElboTerms(tf.stop_gradient(start.objective) - rest, kl)

    def with_path(self, outcome: Outcome, start: RefinementInfo | None) -> Outcome:
        """Adds `path_weight` times the mean objective at lambda_1 to lambda_{K-1} to the loss.

        Theta is held constant in these terms, whose gradients the refinement steps have computed
        anyway: no decoder pass is added. For K < 2, and for examples that fell back to lambda_0,
        nothing is added.

        Args:
          outcome: the `Outcome` at lambda_K.
          start: the `RefinementInfo` of refinement; None for K = 0.

        Raises:
          ValueError: the adjoint has no gradient through the steps.
        """
        if not self.path_weight or start is None:
            return outcome
        if start.path is None:
            raise ValueError(
                f"path_weight: requires an adjoint with gradients through the steps, got "
                f'{self.path_weight} with adjoint "stop". Use adjoint="exact" or path_weight=0.'
            )
        if start.path.shape[0] < 2:
            return outcome
        extra = self.path_weight * tf.reduce_mean(start.path[1:], axis=0)
        extra = tf.cast(start.where_refined(extra), outcome.loss.dtype)
        return outcome._replace(loss=outcome.loss + extra)

    def outcome_at(
        self, parameters: Nest, start: RefinementInfo | None = None, **kwargs: Any
    ) -> Outcome:
        """Returns the `Outcome` whose loss is the weighted negative ELBO at `parameters`.

        Args:
          parameters: nest of variational parameters [B, ...].
          start: the `RefinementInfo` of refinement, if there was any.
          **kwargs: fields of the `Outcome` to override.
        """
        terms, effects = self.generator.terms_and_effects(
            parameters, self.theta, self.final_seed(), self.training
        )
        loss = self.weigh(terms)
        start = RefinementInfo(None) if start is None else start
        base = {"amortized": None, "start": start.objective, "end": loss}
        base["fell_back"] = start.fell_back
        effects += self.encoder_effects()
        return Outcome(loss=loss, terms=terms, effects=effects, **{**base, **kwargs})


def at_constant_weights(theta: Nest) -> Nest:
    """Returns `theta` with gradients stopped, so that only the encoder is trained."""
    return tf.nest.map_structure(tf.stop_gradient, theta)
