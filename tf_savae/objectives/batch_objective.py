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
from tf_savae.svi.per_example import inner

__all__ = ["Outcome", "BatchObjective", "RefinementInfo", "at_constant_weights"]


class RefinementInfo(NamedTuple):
    """What refinement tells of lambda_0; tensors [B]."""

    objective: Any  # Nats, with the noise of step 0, which computes it anyway.
    fell_back: Any = None  # Bool: which examples kept lambda_0; None where none may.
    gradient: Any = None  # Nest like lambda_0, [B, ...]: of `objective` there, as a constant.


class Outcome(NamedTuple):
    """A training rule's answer; every tensor is per example, [B], nats."""

    loss: Any
    terms: Any  # ElboTerms of the bound that the system reports.
    amortized: Any  # ElboTerms at lambda_0, or None where no encoder proposes one.
    effects: Effects  # Moving statistics and losses that layers added.
    start: Any  # Objective before refinement, or None.
    end: Any  # Objective after refinement, or None.
    fell_back: Any = None  # Bool: kept lambda_0 since refinement made it worse, or None.


def _no_effects():
    """The effects of an encoder that does nothing but encode."""
    return Effects([], [])


@dataclasses.dataclass(frozen=True)
class BatchObjective:
    """One batch: the pure generator, its theta, the encoder and how to refine.

    Attributes:
      generator: `PureGenerator`.
      theta: what `generator.theta` returned for this batch.
      encode: () -> lambda_0, the encoder's parameters for this batch.
      prior_parameters: () -> the parameters at which SVI starts from the prior.
      refine: (negative_elbo, initial, theta, seed, adjoint) -> (lambda_K, `RefinementInfo`, or
        None for K = 0); adjoint None leaves the layer's own.
      steps: K.
      beta: KL weight, scalar.
      free_bits: nats.
      amortized_weight: w of the term w ELBO(lambda_0) that objective "savae" adds for the encoder.
      seed: stateless seed of the batch.
      training: bool.
      encoder_effects: () -> the `Effects` of the encoder's layers.
      antithetic: whether several samples come in mirrored pairs.
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
    amortized_weight: float = 0.0
    antithetic: bool = False

    @property
    def objective(self) -> GeneratorElbo:
        """The weighted negative ELBO, [B]: what refinement descends and training minimises.

        A function of (parameters, theta, seed), whose method `average` takes several seeds.
        """
        return GeneratorElbo(self.generator, self.weigh, self.training, self.antithetic)

    def weigh(self, terms: ElboTerms) -> tf.Tensor:
        """nll + beta max(kl, free_bits) of `ElboTerms`, [B]."""
        return terms.weighted(self.beta, self.free_bits)

    def final_seed(self) -> tf.Tensor:
        """A fresh sample for the ELBO at lambda_K."""
        return seeds.fold(self.seed, self.steps)

    def first_seed(self) -> tf.Tensor:
        """The sample of refinement step 0, for the ELBO at lambda_0."""
        return seeds.fold(self.seed, 0)

    def refined(self, initial: Nest, adjoint: Any = None) -> tuple[Nest, RefinementInfo | None]:
        """(lambda_K, `RefinementInfo` or None)."""
        return self.refine(self.objective, initial, self.theta, self.seed, adjoint)

    def amortized_objective(self, initial: Nest, start: RefinementInfo | None) -> tf.Tensor:
        """The objective at lambda_0, [B], with a gradient in lambda_0 alone: theta is constant.

        Step 0 of the refinement took that gradient already, so this costs no pass through the
        decoder: the value is linear in lambda_0 around where it is, with that slope.

        Args:
          initial: lambda_0.
          start: the `RefinementInfo` of refinement; None for K = 0, which costs the pass.
        """
        if start is None:
            fixed = at_constant_weights(self.theta)
            return self.objective(initial, fixed, self.first_seed())
        initial = tf.nest.flatten(initial)
        moved = [p - tf.stop_gradient(p) for p in initial]
        slope = [tf.stop_gradient(g) for g in tf.nest.flatten(start.gradient)]
        return tf.stop_gradient(start.objective) + inner(slope, moved)

    def amortized_terms(self, initial: Nest, start: RefinementInfo | None) -> ElboTerms | None:
        """The `ElboTerms` at lambda_0, without a pass through the decoder: for metrics alone.

        Args:
          initial: lambda_0.
          start: the `RefinementInfo` of refinement; None for K = 0, where the answer is None.
        """
        if start is None:
            return None
        initial = tf.nest.map_structure(tf.stop_gradient, initial)
        kl = self.generator.kl(initial, at_constant_weights(self.theta), self.first_seed())
        rest = self.weigh(ElboTerms(tf.zeros_like(kl), kl))
        return ElboTerms(tf.stop_gradient(start.objective) - rest, kl)

    def outcome_at(
        self, parameters: Nest, start: RefinementInfo | None = None, **kwargs: Any
    ) -> Outcome:
        """The outcome whose loss is the weighted negative ELBO at `parameters`; `start` if any."""
        terms, effects = self.generator.terms_and_effects(
            parameters, self.theta, self.final_seed(), self.training
        )
        loss = self.weigh(terms)
        start = RefinementInfo(None) if start is None else start
        base = {"amortized": None, "start": start.objective, "end": loss}
        base["fell_back"] = start.fell_back
        effects += self.encoder_effects()
        return Outcome(loss=loss, terms=terms, effects=effects, **{**base, **kwargs})


def at_constant_weights(theta):
    """`theta` as constants: what trains only the encoder."""
    return tf.nest.map_structure(tf.stop_gradient, theta)
