"""The results of an evaluation as JSON-serializable dicts, in nats per example."""

from typing import Any

import numpy as np

from tf_savae.commands.evaluate.config import EvaluateConfig
from tf_savae.evaluation import (
    InferenceGap,
    StepsCurve,
    active_units,
    evaluate_bounds,
    importance_weighting,
    mutual_information,
)
from tf_savae.training.finished_run import Run
from tf_savae.training.task import Split

__all__ = ["exact_numbers", "gap_numbers", "mean_and_error", "posterior_numbers", "steps_rows"]


def mean_and_error(values: np.ndarray) -> dict[str, Any]:
    """Returns {"mean", "standard_error"} over examples; the error is None for one example.

    >>> mean_and_error(np.array([1.0, 3.0]))
    {'mean': 2.0, 'standard_error': 1.0}
    """
    count = len(values)
    error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return {"mean": float(values.mean()), "standard_error": error}


def posterior_numbers(
    run: Run, split: Split, config: EvaluateConfig, steps: int, label: str
) -> dict[str, Any]:
    """Returns the measures of the posterior after `steps` refinement steps on a `Split`."""
    model, dataset, seed = run.model, split.dataset(), config.seed
    bounds = evaluate_bounds(model, dataset, steps, seed, label=f"{label}: bound")
    weighted = importance_weighting(
        model,
        dataset,
        config.samples,
        steps,
        seed,
        chunk=config.chunk,
        label=f"{label}: importance weighting with {config.samples} samples",
    )
    numbers = {
        "steps": steps,
        "bound": mean_and_error(bounds.bound),
        "nll": mean_and_error(bounds.nll),
        "kl": mean_and_error(bounds.kl),
        **_posterior(model, bounds, config),
        "iw_nll": {**mean_and_error(weighted.nll), "monte_carlo_error": weighted.monte_carlo_error},
        "effective_samples": float(np.median(weighted.effective_samples)),
    }
    measures = run.task.measures
    return numbers | measures(split, "", bounds.bound) | measures(split, "iw", weighted.nll)


def _posterior(model, bounds, config):
    if len(bounds.mean) < 2:
        return {"mutual_information": None, "active_units": None}
    found = mutual_information(
        model.family, bounds.parameters, config.information_samples, config.seed
    )
    return {
        "mutual_information": {
            "mean": found.estimate,
            "standard_error": found.standard_error,
            "cap": found.cap,
        },
        "active_units": active_units(bounds.mean),
    }


def exact_numbers(run: Run, split: Split, config: EvaluateConfig) -> dict[str, Any]:
    """Returns the measures of a model without latent variables, whose likelihood is exact."""
    dataset, label = split.dataset(), "likelihood"
    nll = importance_weighting(run.model, dataset, seed=config.seed, label=label).nll
    return {"nll": mean_and_error(nll), **run.task.measures(split, "", nll)}


def gap_numbers(gap: InferenceGap) -> dict[str, Any]:
    """Returns the means of an `InferenceGap`, with standard errors over examples."""
    names = (
        "amortized",
        "refined",
        "optimal",
        "nll",
        "amortization_gap",
        "recovered",
        "approximation_gap",
        "inference_gap",
    )
    numbers = {name: mean_and_error(getattr(gap, name)) for name in names}
    whole = numbers["amortization_gap"]["mean"]
    share = numbers["recovered"]["mean"] / whole if whole > 0 else None
    return {
        "examples": len(gap.nll),
        "steps": gap.steps,
        **numbers,
        "recovered_share": share,
        "late_gain": gap.late_gain,
    }


def steps_rows(curve: StepsCurve) -> list[dict[str, Any]]:
    """Returns one dict per inference method of a `StepsCurve`; gains are over the first row."""
    rows = []
    for index, label in enumerate(curve.labels):
        gain = curve.bound[0] - curve.bound[index]
        rows.append(
            {
                "inference": label,
                "steps": float(curve.steps[index]),
                "bound": float(curve.bound[index].mean()),
                "gain": mean_and_error(gain),
                "kl": float(curve.kl[index].mean()),
                "milliseconds": float(curve.milliseconds[index]),
            }
        )
    return rows
