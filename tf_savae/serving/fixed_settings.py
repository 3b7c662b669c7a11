"""Signatures that a server may batch: examples only, with K, S and the seed fixed at export.

A server concatenates requests along the first dimension of every input, which scalars do not have.
`posterior` and `score` have the examples as their only input and compute each row independently.
Therefore batched requests get the same results as separate ones.
"""

import dataclasses
from typing import Any

import tensorflow as tf

from tf_savae.core import validation
from tf_savae.objectives.lookup import has_latent
from tf_savae.serving.limits import Limits
from tf_savae.serving.signature import Signature

__all__ = ["FixedSettings", "fixed_settings", "score", "with_fixed_settings"]

_SAMPLES = 100
_INT32 = 2**31


@dataclasses.dataclass(frozen=True)
class FixedSettings:
    """K, S and the seed of the signatures whose only input is the examples."""

    steps: int
    samples: int
    seed: int

    def value_of(self, name: str) -> Any:
        """Returns the int32 constant for the input `name`."""
        return tf.constant(getattr(self, name), tf.int32)

    def about(self, *names: str) -> str:
        """Returns the text about the settings `names` for the documentation of a signature."""
        letters = {"steps": "K", "samples": "S", "seed": "seed"}
        return ", ".join(f"{letters[name]} = {getattr(self, name)}" for name in names)


def fixed_settings(
    model: Any, limits: Limits, steps: int | None, samples: int | None, seed: int
) -> FixedSettings | None:
    """Returns the validated arguments of `export` with defaults; None without latent variables.

    Args:
      model: a built model.
      limits: bounds on one request, which also bound these settings.
      steps: K; None for that of training, or the limit if that is lower.
      samples: S; None for 100, or the limit if that is lower.
      seed: int, 0 to 2**31 - 1; must be 0 for a model without a posterior.

    Raises:
      ValueError: a setting is out of range or not applicable to the model.
    """
    if not has_latent(model):
        for name, value in (("steps", steps), ("samples", samples), ("seed", seed or None)):
            if value is not None:
                raise ValueError(
                    f"{name}: expected None for an {type(model).__name__}, which has no posterior, "
                    f"got {value!r}."
                )
        return None
    if steps is None:
        steps = min(model.inference_steps, limits.steps)
    if samples is None:
        samples = min(_SAMPLES, limits.samples)
    validation.non_negative_int("steps", steps)
    validation.positive_int("samples", samples)
    for name, value in (("steps", steps), ("samples", samples)):
        most = getattr(limits, name)
        if value > most:
            raise ValueError(
                f"{name}: expected at most limits.{name}={most}, got {value}. Raise the limit, too."
            )
    if validation.non_negative_int("seed", seed) >= _INT32:
        raise ValueError(f"seed: expected an integer below 2**31, got {seed}.")
    return FixedSettings(int(steps), int(samples), int(seed))


def with_fixed_settings(
    signature: Signature, name: str, about: str, x: Any, fixed: FixedSettings
) -> Signature:
    """Returns a variant of `signature` whose only input is the examples.

    Args:
      signature: a signature whose first input is the examples and whose other inputs are settings.
      name, about: name and description of the variant; the settings are appended to `about`.
      x: the `Input` of the examples.
      fixed: the settings.
    """
    settings = [i.name for i in signature.inputs[1:]]

    def compute(x):
        return signature.compute(x, *map(fixed.value_of, settings))

    about = f"{about} {fixed.about(*settings)}."
    return Signature(name, about, (x,), signature.outputs, compute)


def score(elbo: Signature, likelihood: Signature, x: Any, fixed: FixedSettings) -> Signature:
    """Returns the signature `score`: the outputs of `elbo` and `log_likelihood` together."""
    parts = [with_fixed_settings(part, "", "", x, fixed) for part in (elbo, likelihood)]

    def compute(x):
        answers = [part.compute(x) for part in parts]
        return {**answers[0], **answers[1]}

    return Signature(
        "score",
        "Bounds on log p(x) of each example: the outputs of elbo and log_likelihood. "
        f"{fixed.about('steps', 'samples', 'seed')}.",
        (x,),
        (*elbo.outputs, *likelihood.outputs),
        compute,
    )
