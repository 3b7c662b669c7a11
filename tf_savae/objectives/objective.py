"""`Objective`: the base class of training objectives."""

import abc
from typing import Any, NamedTuple, Self

from tf_savae.core.typing import Config
from tf_savae.objectives.batch_objective import Outcome

__all__ = ["LOSS_WEIGHTS", "Objective"]


class _Term(NamedTuple):
    """A weighted term of a loss, in words for messages."""

    requires: str  # The objectives that have it.
    how: str  # How `loss` of a custom objective adds it.


LOSS_WEIGHTS = {  # Attributes of an objective: the default, or None for no term.
    "amortized_weight": _Term(
        requires='objective="savae", whose encoder is trained on the ELBO at lambda_K',
        how="batch.amortized_weight * batch.amortized_objective(initial, start)",
    ),
    "path_weight": _Term(
        requires='objective="savae" or "vae_svi_exact", with gradients through the steps',
        how="batch.with_path(outcome, start)",
    ),
}


class Objective(abc.ABC):
    """Base class of training objectives: maps one batch to the loss of each example.

    Custom objectives subclass it and implement `loss`; pass an instance to
    `SemiAmortizedVAE(objective=...)`. To save such a model, register the class with Keras. A class
    with constructor arguments also needs `get_config`.

    Attributes:
      name: name in messages and reports; by default the name of the class.
      latent: whether the model has latent variables.
      uses_encoder: whether an encoder computes lambda_0; if not, SVI starts from the prior.
      refines: whether training takes K refinement steps; also the default for inference.
      crosses_refinement: whether gradients are propagated through these steps. Then the adjoint
        matters, update rules with weights are trained, and Hessian-vector products are computed.
      encoder_crosses: whether these gradients train the encoder, too. If not, a weak signal there
        causes no warning.
      needs_steps: whether the encoder is trained by the refinement steps only, so that K = 0 is
        an error.
      amortized_weight: default weight of the ELBO at lambda_0, or None if the objective has no
        such term; then `SemiAmortizedVAE(amortized_weight=...)` is an error.
      path_weight: the same for the mean ELBO at lambda_1 to lambda_{K-1}, which `loss` adds by
        `batch.with_path`.

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
    path_weight: float | None = None

    @property
    def name(self) -> str:
        """The name in messages and reports."""
        return type(self).__name__

    @abc.abstractmethod
    def loss(self, batch: Any) -> Outcome:
        """Returns the `Outcome` of one batch, per example and in nats.

        Args:
          batch: a `BatchObjective` with the encoder, generator and refinement of the model.
        """

    def get_config(self) -> Config:
        """Returns the constructor's arguments as JSON types, for saved models."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Returns the objective with the constructor arguments in `config`."""
        return cls(**config)

    def __str__(self):
        return self.name
