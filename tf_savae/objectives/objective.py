"""`Objective`: what trains the encoder and the decoder, and what others ask of it."""

import abc
from typing import Any, Self

from tf_savae.core.typing import Config
from tf_savae.objectives.batch_objective import Outcome

__all__ = ["Objective"]


class Objective(abc.ABC):
    """A training rule: maps one batch to the loss of each example.

    A rule of one's own is a subclass with a `loss`, given to `SemiAmortizedVAE(objective=...)`. To
    save such a model, register the class with Keras; a class with constructor arguments also needs
    a `get_config`.

    Attributes:
      name: how messages and reports call it; the class's name by default.
      latent: whether the model has a latent code.
      uses_encoder: whether an encoder proposes lambda_0; without one, SVI starts from the prior.
      refines: whether training takes the K refinement steps, and so inference by default.
      crosses_refinement: whether gradients cross these steps, so that the adjoint matters, update
        rules with weights learn, and Hessian-vector products are taken.
      encoder_crosses: whether the encoder learns through them, too; where not, a weak signal there
        is no fault.
      needs_steps: whether the encoder learns from the steps alone, so that K = 0 is refused.
      amortized_weight: the default weight of the encoder's own ELBO, or None for an objective that
        has no such term: `SemiAmortizedVAE(amortized_weight=...)` is then refused.

    >>> class StrongPrior(Objective):
    ...     refines = False
    ...     def loss(self, batch):
    ...         outcome = batch.outcome_at(batch.encode())
    ...         return outcome._replace(loss=outcome.loss + outcome.terms.kl)
    >>> StrongPrior().name, StrongPrior().uses_encoder
    ('StrongPrior', True)
    """

    latent = True
    uses_encoder = True
    refines = True
    crosses_refinement = False
    encoder_crosses = True
    needs_steps = False
    amortized_weight: float | None = None

    @property
    def name(self) -> str:
        """How messages and reports call it."""
        return type(self).__name__

    @abc.abstractmethod
    def loss(self, batch: Any) -> Outcome:
        """The `Outcome` of one batch, per example and in nats.

        Args:
          batch: `BatchObjective`: its encoder, generator and refinement.
        """

    def get_config(self) -> Config:
        """The constructor's arguments, as JSON, for a saved model."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The objective of a saved model."""
        return cls(**config)

    def __str__(self):
        return self.name
