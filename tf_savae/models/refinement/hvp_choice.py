"""The Hessian-vector product that training takes: configured, assigned or measured."""

from tf_savae.core import seeds
from tf_savae.models import distribution
from tf_savae.models.refinement import steps_schedule
from tf_savae.svi import fastest_hvp
from tf_savae.svi.hvp import METHODS

__all__ = ["HvpChoice", "differentiates_twice", "uses_products"]


class HvpChoice:
    """The product of one model.

    Attributes:
      method: a name or function; "auto" until both exact products are measured.

    >>> from tf_savae.models.refinement.layer import SemiAmortizedRefinement
    >>> HvpChoice(SemiAmortizedRefinement(steps=3)).method
    'auto'
    """

    def __init__(self, refinement):
        self._refinement = refinement
        self.reset()

    def reset(self):
        """Takes the refinement layer's setting."""
        self.method = self._configured = self._refinement.product()

    def follow(self):
        """As `reset`, where the layer's setting has changed since."""
        if self._configured != self._refinement.product():
            self.reset()

    def measure(self, model, batch):
        """Takes the faster exact product for a batch of data, a nest of tensors [B, ...]."""
        problem = model.problem(batch, seeds.as_seed(0), training=True)
        fastest = fastest_hvp(
            problem.objective,
            problem.encode(),
            problem.theta,
            jit_compile=model.jit_compile is True,
        )
        # All processes have to take the same one, and clocks differ.
        names = sorted(METHODS)
        self.method = names[int(distribution.agreed(names.index(fastest)))]


def uses_products(objective, refinement):
    """Whether training runs algorithm 1's backward pass, with Hessian-vector products."""
    return _crosses(objective, refinement) and refinement.current_adjoint().hvp is not None


def differentiates_twice(objective, refinement):
    """Whether training takes second derivatives of the decoder."""
    return _crosses(objective, refinement) and refinement.current_adjoint().differentiates_twice


def _crosses(objective, refinement):
    """Whether gradients cross any refinement steps."""
    return objective.crosses_refinement and any(steps_schedule.every(refinement.steps))
