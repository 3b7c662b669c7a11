"""`--svi_samples` and `--svi_antithetic` of commands that use a finished run."""

from typing import Any

from tf_savae.core import validation

__all__ = ["check_step_samples", "set_step_samples"]


def check_step_samples(config: Any) -> None:
    """Checks the settings svi_samples and svi_antithetic of a configuration.

    Raises:
      ValueError: one of them is out of range, or svi_antithetic has no even number of samples.

    >>> from tf_savae.commands.evaluate.config import EvaluateConfig
    >>> EvaluateConfig(svi_antithetic=True)
    Traceback (most recent call last):
    ValueError: svi_antithetic: expected svi_samples to be even and positive, got svi_samples=0.
    """
    samples = validation.non_negative_int("svi_samples", config.svi_samples)
    pairs = validation.boolean("svi_antithetic", config.svi_antithetic)
    if pairs and (not samples or samples % 2):
        raise ValueError(
            f"svi_antithetic: expected svi_samples to be even and positive, got "
            f"svi_samples={samples}."
        )


def set_step_samples(run: Any, config: Any) -> None:
    """Sets the samples of z in each refinement step of a `Run`'s model, if the settings say so.

    Raises:
      ValueError: the run has no latent variables; or the samples are to come in antithetic pairs,
        which its family does not support.
    """
    if not config.svi_samples:
        return
    if not run.latent:
        raise ValueError(
            f"svi_samples: expected a run with latent variables, got the system {run.system}."
        )
    from tf_savae.models.validation.model_parts import check_samples  # Imports TensorFlow.

    refinement = run.model.refinement
    refinement.samples, refinement.antithetic = config.svi_samples, config.svi_antithetic
    check_samples(refinement, run.model.family)
