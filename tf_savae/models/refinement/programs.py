"""Choose the program of the exact adjoint on real shapes: what is kept, and which product."""

from tf_savae.models import distribution
from tf_savae.models.refinement.steps_schedule import every
from tf_savae.svi import choose_residuals, fastest_hvp
from tf_savae.svi.hvp import METHODS

__all__ = ["LEVELS", "Programs", "choose_programs"]

LEVELS = (None, "states", "all")  # From the least memory on.


class Programs:
    """Which program of the exact adjoint a model trains with; "auto" until that is decided.

    Attributes:
      hvp: the Hessian-vector product.
      keep: what steps keep, where the refinement leaves it to be chosen.
    """

    def __init__(self, refinement):
        self._asked = self._asked_of(refinement)
        self.hvp, self.keep = refinement.product(), "auto"

    def _asked_of(self, refinement):
        adjoint = refinement.current_adjoint()
        # A product that keeping implies is none that was asked for.
        sizes = max(every(refinement.steps)), refinement.samples, adjoint.residuals, adjoint.budget
        return refinement.product(), sizes

    def follow(self, refinement):
        """Forgets what was decided for other settings."""
        if self._asked != (asked := self._asked_of(refinement)):
            before, self._asked, self.keep = self._asked, asked, "auto"
            if before[0] != asked[0]:
                self.hvp = asked[0]

    def take_product(self, hvp):
        """Takes a product that somebody names."""
        self.hvp, self.keep = hvp, "auto"

    def settings(self):
        """What `SemiAmortizedRefinement.refine` is told."""
        return {"hvp": self.hvp} | ({} if self.keep == "auto" else {"keep": self.keep})

    def undecided(self, refinement):
        """Whether a batch has to decide something."""
        adjoint = refinement.current_adjoint()
        keep = adjoint.residuals if self.keep == "auto" else self.keep
        return keep == "auto" or (keep is None and self.hvp == "auto")

    def decide(self, refinement, problem, jit_compile):
        """Decides for the shapes of a `BatchObjective` of eager tensors."""
        adjoint = refinement.current_adjoint().with_hvp(self.hvp)
        if self.keep != "auto":
            adjoint = adjoint.with_residuals(self.keep)
        chosen = choose_programs(
            adjoint,
            problem.objective,
            problem.encode(),
            problem.theta,
            steps=max(every(refinement.steps)),
            samples=refinement.samples,
            jit_compile=jit_compile,
        )
        self.hvp = chosen["hvp"]
        if adjoint.residuals == "auto":
            self.keep = chosen["keep"]


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
