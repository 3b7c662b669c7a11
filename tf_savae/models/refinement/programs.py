"""Choose the program of the exact adjoint on real shapes: what is kept, and which product."""

from tf_savae.autodiff import residuals
from tf_savae.core import seeds
from tf_savae.models import distribution
from tf_savae.models.refinement.steps_schedule import every
from tf_savae.svi import choose_residuals, fastest_hvp
from tf_savae.svi.hvp import METHODS

__all__ = ["LEVELS", "Programs", "choose_programs", "differentiates_twice", "uses_products"]

LEVELS = (None, *residuals.LEVELS)  # From the least memory on.


class Programs:
    """The program of one model.

    Attributes:
      hvp: the Hessian-vector product, a name or function; "auto" until that is decided.
      keep: what steps keep, where it has been decided for "auto"; until then "auto".

    >>> from tf_savae.models.refinement.layer import SemiAmortizedRefinement
    >>> chosen = Programs(SemiAmortizedRefinement(steps=3))
    >>> chosen.hvp, chosen.keep
    ('auto', 'auto')
    """

    def __init__(self, refinement):
        self._refinement = refinement
        self.reset()

    def reset(self):
        """Takes the refinement layer's settings."""
        self._configured = self._settings()
        self.hvp, self.keep = self._configured[0], "auto"

    def follow(self):
        """Forgets what was decided for other settings of the layer."""
        before, now = self._configured, self._settings()
        if before[0] != now[0]:
            self.reset()
        elif before != now:
            self._configured, self.keep = now, "auto"

    def _settings(self):
        """The product asked for, and what the size of what is kept depends on."""
        layer = self._refinement
        adjoint = layer.current_adjoint()
        most = max(every(layer.steps))
        return layer.product(), most, layer.samples, adjoint.residuals, adjoint.budget

    def take_product(self, hvp):
        """Takes a product that somebody names."""
        self.hvp, self.keep = hvp, "auto"

    @property
    def residuals(self):
        """What steps keep, as it was decided or else asked for."""
        asked = self._refinement.current_adjoint().residuals
        return asked if self.keep == "auto" else self.keep

    def undecided(self):
        """Whether a batch has to decide something."""
        keep = self.residuals
        return keep == "auto" or (keep is None and self.hvp == "auto")

    def overrides(self):
        """What `SemiAmortizedRefinement.refine` is told."""
        return {"hvp": self.hvp} | ({} if self.keep == "auto" else {"keep": self.keep})

    def decide(self, model, batch):
        """Decides for a batch of data, a nest of tensors [B, ...], what has not been decided."""
        if self._refinement.current_adjoint().residuals == "auto" and not self.undecided():
            return
        adjoint = self._refinement.current_adjoint().with_hvp(self.hvp)
        asked = adjoint.residuals
        if self.keep != "auto":
            adjoint = adjoint.with_residuals(self.keep)
        problem = model.problem(batch, seeds.as_seed(0), training=True)
        chosen = choose_programs(
            adjoint,
            problem.objective,
            problem.encode(),
            problem.theta,
            steps=max(every(self._refinement.steps)),
            samples=self._refinement.samples,
            jit_compile=model.jit_compile is True,
        )
        self.hvp = chosen["hvp"]
        if asked == "auto":
            self.keep = chosen["keep"]


def uses_products(objective, refinement):
    """Whether training runs algorithm 1's backward pass, with Hessian-vector products."""
    return _crosses(objective, refinement) and refinement.current_adjoint().hvp is not None


def differentiates_twice(objective, refinement):
    """Whether training takes second derivatives of the decoder."""
    return _crosses(objective, refinement) and refinement.current_adjoint().differentiates_twice


def _crosses(objective, refinement):
    """Whether gradients cross any refinement steps."""
    return objective.crosses_refinement and any(every(refinement.steps))


def choose_programs(adjoint, negative_elbo, initial, theta, *, steps, samples, jit_compile=None):
    """{"keep": what steps keep, "hvp": the product}, the same in all processes of a strategy.

    The most is kept that fits into memory, on all of them. The product is measured where nothing is
    kept and it is "auto"; where something is, that says which it is.

    Args:
      adjoint: `svi.Exact` or `svi.Truncated`.
      negative_elbo, initial, theta, steps, samples: as in `svi.refine`, eager tensors.
      jit_compile: whether training is compiled by XLA.

    Raises:
      ValueError: what cannot be done without does not fit into memory.
    """
    options = dict(steps=steps, samples=samples, adjoint=adjoint)
    keep = choose_residuals(negative_elbo, initial, theta, **options) if steps else None
    keep = LEVELS[distribution.least(LEVELS.index(keep), len(LEVELS))]
    hvp = adjoint.hvp
    if keep is None and hvp == "auto":
        fastest = fastest_hvp(negative_elbo, initial, theta, jit_compile=jit_compile)
        # Clocks differ between processes.
        names = sorted(METHODS)
        hvp = names[int(distribution.agreed(names.index(fastest)))]
    elif hvp == "auto":
        hvp = "forward_over_reverse"
    return {"keep": keep, "hvp": hvp}
