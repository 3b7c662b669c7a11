"""Choose the exact adjoint's residuals and Hessian-vector product on the actual shapes."""

from collections.abc import Callable
from typing import Any

from tf_savae.autodiff import residuals
from tf_savae.core import seeds
from tf_savae.core.progress import stages
from tf_savae.core.typing import NegativeElbo, Nest
from tf_savae.models import distribution
from tf_savae.models.refinement.steps_schedule import every
from tf_savae.objectives import Objective
from tf_savae.svi import choose_residuals, fastest_hvp
from tf_savae.svi.adjoints import Adjoint
from tf_savae.svi.hvp import METHODS

__all__ = ["LEVELS", "Programs", "choose_programs", "differentiates_twice", "uses_products"]

LEVELS = (None, *residuals.LEVELS)  # In order of increasing memory.


class Programs:
    """The Hessian-vector product and residuals that one model's training uses.

    Attributes:
      hvp: the Hessian-vector product, a name or function; "auto" until it is chosen.
      keep: the residuals that steps keep, if they were chosen automatically; "auto" until then.

    >>> from tf_savae.models.refinement.layer import SemiAmortizedRefinement
    >>> chosen = Programs(SemiAmortizedRefinement(steps=3))
    >>> chosen.hvp, chosen.keep
    ('auto', 'auto')
    """

    def __init__(self, refinement: Any) -> None:
        self._refinement = refinement
        self.reset()

    def reset(self) -> None:
        """Returns to the refinement layer's settings."""
        self._configured = self._settings()
        self.hvp, self.keep = self._configured[0], "auto"

    def follow(self) -> None:
        """Discards choices that were made for earlier settings of the layer."""
        before, now = self._configured, self._settings()
        if before[0] != now[0]:
            self.reset()
        elif before != now:
            self._configured, self.keep = now, "auto"

    def _settings(self):
        """Returns the requested product, and the settings that determine the residuals' size."""
        layer = self._refinement
        adjoint = layer.current_adjoint()
        most = max(every(layer.steps))
        return layer.product(), most, layer.samples, adjoint.residuals, adjoint.budget

    def take_product(self, hvp: str | Callable) -> None:
        """Sets the Hessian-vector product to `hvp`."""
        self.hvp, self.keep = hvp, "auto"

    @property
    def residuals(self) -> str | None:
        """The residuals that steps keep: the choice that was made, or else the setting."""
        asked = self._refinement.current_adjoint().residuals
        return asked if self.keep == "auto" else self.keep

    def undecided(self) -> bool:
        """Returns whether a choice remains to be made on a batch."""
        keep = self.residuals
        return keep == "auto" or (keep is None and self.hvp == "auto")

    def overrides(self) -> dict[str, Any]:
        """Returns the overrides for `SemiAmortizedRefinement.refine`."""
        return {"hvp": self.hvp} | ({} if self.keep == "auto" else {"keep": self.keep})

    def decide(self, model: Any, batch: Nest) -> None:
        """Makes the remaining choices on a batch of data, a nest of tensors [B, ...]."""
        if self._refinement.current_adjoint().residuals == "auto" and not self.undecided():
            return
        adjoint = self._refinement.current_adjoint().with_hvp(self.hvp)
        asked = adjoint.residuals
        if self.keep != "auto":
            adjoint = adjoint.with_residuals(self.keep)
        batch_objective = model.batch_objective(batch, seeds.as_seed(0), training=True)
        chosen = choose_programs(
            adjoint,
            batch_objective.objective,
            batch_objective.encode(),
            batch_objective.theta,
            steps=max(every(self._refinement.steps)),
            samples=self._refinement.samples,
            jit_compile=model.jit_compile is True,
        )
        self.hvp = chosen["hvp"]
        if asked == "auto":
            self.keep = chosen["keep"]


def uses_products(objective: Objective, refinement: Any) -> bool:
    """Returns whether training runs algorithm 1's backward pass, with Hessian-vector products."""
    return _crosses(objective, refinement) and refinement.current_adjoint().hvp is not None


def differentiates_twice(objective: Objective, refinement: Any) -> bool:
    """Returns whether training computes second derivatives of the decoder."""
    return _crosses(objective, refinement) and refinement.current_adjoint().differentiates_twice


def _crosses(objective, refinement):
    """Returns whether gradients are propagated through any refinement steps."""
    return objective.crosses_refinement and any(every(refinement.steps))


def choose_programs(
    adjoint: Adjoint,
    negative_elbo: NegativeElbo,
    initial: Nest,
    theta: Nest,
    *,
    steps: int,
    samples: int,
    jit_compile: bool | None = None,
) -> dict[str, Any]:
    """Returns {"keep": residuals, "hvp": product}, equal in all processes of a strategy.

    The largest residuals that fit into memory in all processes are kept. An "auto" product is
    measured if nothing is kept; otherwise the residuals determine it.

    Args:
      adjoint: `svi.Exact` or `svi.Truncated`.
      negative_elbo, initial, theta, steps, samples: as in `svi.refine`, eager tensors.
      jit_compile: whether training is compiled by XLA.

    Raises:
      ValueError: the minimum that the adjoint requires does not fit into memory.
    """
    options: dict[str, Any] = dict(steps=steps, samples=samples, adjoint=adjoint)
    keep = choose_residuals(negative_elbo, initial, theta, **options) if steps else None
    keep = LEVELS[distribution.least(LEVELS.index(keep), len(LEVELS))]
    hvp = adjoint.hvp
    if keep is None and hvp == "auto":
        with stages.stage("Measuring which Hessian-vector product is faster"):
            fastest = fastest_hvp(negative_elbo, initial, theta, jit_compile=jit_compile)
        # Measured times differ between processes.
        names = sorted(METHODS)
        hvp = names[int(distribution.agreed(names.index(fastest)))]
    elif hvp == "auto":
        hvp = "forward_over_reverse"
    return {"keep": keep, "hvp": hvp}
