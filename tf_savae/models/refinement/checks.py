"""Validate the settings of `SemiAmortizedRefinement`."""

from tf_savae.autodiff import residuals
from tf_savae.core import seeds, validation
from tf_savae.models.jit import check_second_derivatives
from tf_savae.models.refinement.steps_schedule import as_steps, every
from tf_savae.networks import Prior
from tf_savae.probability import as_family
from tf_savae.probability.distribution_checks import check_family, check_legacy
from tf_savae.svi import ADJOINTS
from tf_savae.svi import hvp as hvps

__all__ = [
    "CHANGEABLE",
    "check_generator",
    "check_given_family",
    "checked_prior",
    "step_sizes",
    "truncation",
]


def step_sizes(step_size):
    """A float, or a tuple of floats, one for each parameter tensor.

    Raises:
      ValueError: one of them is no number or negative, or a tuple holds 0 or nothing.

    >>> step_sizes([0.1, 0.2])
    (0.1, 0.2)
    """
    if isinstance(step_size, (list, tuple)):
        if not step_size:
            raise ValueError(f"step_size: expected at least one number, got {step_size!r}.")
        return tuple(validation.positive("step_size", size) for size in step_size)
    return validation.positive("step_size", step_size, zero=True)


def truncation(truncate, adjoint, steps):
    """How many last steps adjoint="truncated" crosses back; None with any other adjoint.

    Raises:
      ValueError: no integer in [0, steps], or given for another adjoint. Where K follows a
        schedule its largest value counts, and fewer steps are all crossed.

    >>> truncation(2, "truncated", 5)
    2
    """
    if adjoint != "truncated":
        if truncate is not None:
            raise ValueError(
                f'truncate: is for adjoint="truncated", got adjoint={adjoint!r}; leave it None.'
            )
        return None
    depth = validation.non_negative_int("truncate", truncate)
    steps = max(every(steps))
    if depth > steps:
        raise ValueError(f"truncate: expected at most steps={steps}, got {depth}.")
    return depth


def check_generator(decoder, adjoint, hvp):
    """Raises ValueError for a layer that is no `Decoder`, or lacks the derivatives asked for."""
    if decoder is None:
        return
    check_legacy("decoder", decoder)
    if not hasattr(decoder, "log_prob_prepared"):
        raise ValueError(
            "decoder: expected a tf_savae.networks.Decoder (wrap a plain Keras network in "
            f"DistributionDecoder), got {type(decoder).__name__}."
        )
    if adjoint == "unrolled" or (adjoint != "stop" and hvp != "finite_difference"):
        check_second_derivatives(decoder)


def check_given_family(family, latent_size, dtype):
    """Raises for a family that says the shapes of its parameters, and is none for refinement.

    >>> from tf_savae.probability import DiagonalGaussian
    >>> check_given_family(DiagonalGaussian(), 2, "float32")
    """
    if latent_size is None:
        return
    try:
        parameters = family.zeros(1, latent_size, dtype)
    except NotImplementedError:  # A plain function: it is asked at the first batch.
        return
    check_family(family, parameters)


def checked_prior(prior):
    """Returns a `Prior` or None, or raises ValueError.

    >>> checked_prior(None)
    """
    check_legacy("prior", prior)
    if prior is None or isinstance(prior, Prior):
        return prior
    raise ValueError(
        f"prior: expected a tf_savae.networks.Prior, got {prior!r}. Make a distribution one by a "
        "subclass whose method distribution() returns it."
    )


def _hvp(hvp):
    return hvp if callable(hvp) else validation.choice("hvp", hvp, tuple(hvps.METHODS))


def _momentum(value):
    return validation.unit_interval("momentum", value, closed=False)


# What may be assigned later, with the check of each; whether they fit together is seen in use.
CHANGEABLE = {
    "steps": as_steps,
    "update": lambda rule: rule,
    "step_size": lambda value: None if value is None else step_sizes(value),
    "momentum": lambda value: None if value is None else _momentum(value),
    "clip_norm": lambda value: validation.positive("clip_norm", value, optional=True),
    "adjoint": lambda value: validation.choice("adjoint", value, ADJOINTS),
    "hvp": _hvp,
    "truncate": lambda value: (
        None if value is None else validation.non_negative_int("truncate", value)
    ),
    "adjoint_clip_norm": lambda value: validation.positive(
        "adjoint_clip_norm", value, optional=True
    ),
    "samples": lambda value: validation.positive_int("samples", value),
    "keep": lambda value: validation.choice("keep", value, (None, *residuals.LEVELS)),
    "fall_back": lambda value: validation.non_negative_int("fall_back", value),
    "family": as_family,
    "seed": seeds.plain_seed,
}
