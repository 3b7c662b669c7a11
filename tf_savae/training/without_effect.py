"""Settings of a configuration that its other settings make irrelevant."""

from typing import Any

from absl import logging

__all__ = ["log_without_effect", "without_effect"]

_LATENT = ("latent_size", "free_bits", "kl_start", "kl_anneal_epochs")
_STEPS = (
    "svi_steps", "svi_step_size", "svi_samples", "svi_antithetic", "svi_rule", "svi_momentum",
    "svi_clip_norm", "learn_step_size")  # fmt: skip
_PRODUCTS = ("hvp", "keep", "keep_budget", "adjoint_clip_norm", "truncate")


def without_effect(config: Any) -> dict[str, str]:
    """Returns {setting: why it has no effect} of a `RunConfig`.

    >>> from tf_savae.training.config import RunConfig
    >>> without_effect(RunConfig(system="savae", adjoint="unrolled"))["hvp"]
    "adjoint='unrolled'"
    >>> sorted(without_effect(RunConfig(svi_schedule="0:0,2:5")))
    ['svi_steps']
    """
    from tf_savae.models.refinement.steps_schedule import every

    objective, system = config.objective, f"system={config.system!r}"
    found = {}
    if config.svi_schedule:
        found["svi_steps"] = f"svi_schedule={config.svi_schedule!r}"
    if config.path_weight and max(every(config.steps(10**6))) < 2:
        found["path_weight"] = "fewer than 2 refinement steps"
    if not config.kl_anneal_epochs:
        found["kl_start"] = f"kl_anneal_epochs={config.kl_anneal_epochs!r}"
    if config.adjoint in ("unrolled", "stop"):
        found |= dict.fromkeys(_PRODUCTS, f"adjoint={config.adjoint!r}")
    if not objective.crosses_refinement:
        found |= dict.fromkeys(("adjoint", *_PRODUCTS), system)
    if not objective.refines:  # Evaluation may refine, with the other settings of the steps.
        found["svi_steps"] = system
    if not objective.latent:
        found |= dict.fromkeys((*_LATENT, *_STEPS), system)
    return found


def log_without_effect(config: Any, base: Any, settings: dict[str, Any]) -> None:
    """Logs a warning for each of `settings` that differs from `base` and has no effect.

    Args:
      config: the resulting configuration. Its method `without_effect`, if it has one, returns
        {setting: why it has no effect}.
      base: the configuration that `settings` modify.
      settings: {setting: value}.
    """
    reasons = config.without_effect() if hasattr(config, "without_effect") else {}
    for name in settings:
        if name in reasons and getattr(config, name) != getattr(base, name):
            logging.warning("%s has no effect with %s", name, reasons[name])
