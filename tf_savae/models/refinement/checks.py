"""Validate the settings of `SemiAmortizedRefinement`."""

from collections.abc import Sequence
from typing import Any

from tf_savae.core import seeds, validation
from tf_savae.models.compilation.jit import check_second_derivatives
from tf_savae.models.refinement.steps_schedule import as_steps
from tf_savae.networks import Prior
from tf_savae.networks.decoder import Decoder
from tf_savae.probability import Family, as_family
from tf_savae.probability.distribution_checks import check_family, check_legacy
from tf_savae.svi import Exact
from tf_savae.svi.adjoints import Adjoint
from tf_savae.svi.short_forms import as_adjoint, checked_adjoint

__all__ = [
    "CHANGEABLE",
    "check_generator",
    "check_given_family",
    "checked_prior",
    "step_sizes",
]


def step_sizes(step_size: float | Sequence[float]) -> float | tuple[float, ...]:
    """Returns a float, or a tuple of floats with one for each parameter tensor.

    Raises:
      ValueError: a value is not a number or is negative, or a tuple is empty or contains 0.

    >>> step_sizes([0.1, 0.2])
    (0.1, 0.2)
    """
    if isinstance(step_size, (list, tuple)):
        if not step_size:
            raise ValueError(f"step_size: expected at least one number, got {step_size!r}.")
        return tuple(validation.positive("step_size", size) for size in step_size)
    return validation.positive("step_size", step_size, zero=True)


def check_generator(decoder: Decoder | None, adjoint: Adjoint) -> None:
    """Raises ValueError if `decoder` is not a `Decoder` or lacks derivatives of the adjoint."""
    if decoder is None:
        return
    check_legacy("decoder", decoder)
    if not hasattr(decoder, "log_prob_prepared"):
        raise ValueError(
            "decoder: expected a tf_savae.networks.Decoder (wrap a plain Keras network in "
            f"DistributionDecoder), got {type(decoder).__name__}."
        )
    if adjoint.differentiates_twice:
        check_second_derivatives(decoder)


def check_given_family(family: Family, latent_size: int | None, dtype: str) -> None:
    """Raises ValueError if a family that declares parameter shapes is invalid for refinement.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_given_family(DiagonalGaussian(), 2, "float32")
    """
    if latent_size is None:
        return
    try:
        parameters = family.zeros(1, latent_size, dtype)
    except NotImplementedError:  # A plain function: checked on the first batch.
        return
    check_family(family, parameters)


def checked_prior(prior: Prior | None) -> Prior | None:
    """Returns `prior`, a `Prior` or None; raises ValueError for other values.

    >>> checked_prior(None)
    """
    check_legacy("prior", prior)
    if prior is None or isinstance(prior, Prior):
        return prior
    raise ValueError(
        f"prior: expected a tf_savae.networks.Prior, got {prior!r}. To use a distribution, "
        "subclass Prior and return it from distribution()."
    )


def _momentum(value):
    return validation.unit_interval("momentum", value, closed=False)


def _depth(value):
    truncated: Any = as_adjoint("truncated", truncate=value)
    return truncated.depth


# Settings that may be assigned later, with their checks. Compatibility is checked when they are
# used.
CHANGEABLE = {
    "steps": as_steps,
    "update": lambda rule: rule,
    "step_size": lambda value: None if value is None else step_sizes(value),
    "momentum": lambda value: None if value is None else _momentum(value),
    "clip_norm": lambda value: validation.positive("clip_norm", value, optional=True),
    "adjoint": checked_adjoint,
    "hvp": lambda value: Exact(hvp=value).hvp,
    "keep": lambda value: as_adjoint("exact", keep=value).residuals,
    "keep_budget": lambda value: as_adjoint("exact", keep_budget=value).budget,
    "truncate": lambda value: None if value is None else _depth(value),
    "adjoint_clip_norm": lambda value: as_adjoint("exact", adjoint_clip_norm=value).clip_norm,
    "samples": lambda value: validation.positive_int("samples", value),
    "antithetic": lambda value: validation.boolean("antithetic", value),
    "fall_back": lambda value: validation.non_negative_int("fall_back", value),
    "family": as_family,
    "seed": seeds.plain_seed,
}
