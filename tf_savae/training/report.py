"""The final report of a run: test metrics as JSON and as a table."""

import platform
import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_savae.evaluation import active_units, evaluate_bounds, importance_weighted_nll
from tf_savae.evaluation.quantities import QUANTITIES, row_label
from tf_savae.training.callbacks import progress_of
from tf_savae.training.config import RunConfig

__all__ = ["print_report", "test_report", "versions"]


def test_report(
    config: RunConfig, data: Any, model: keras.Model, state: dict[str, Any]
) -> dict[str, Any]:
    """Returns the content of the report as a JSON-compatible dict, in nats per example.

    The posterior, which is also the proposal of importance sampling, is that of the encoder for
    the VAE and the refined posterior for all other systems. `data.measures(name, nll)` and
    `data.facts()` add quantities of the kind of data, such as perplexities and sizes.
    """
    began = time.perf_counter()
    objective = config.objective
    steps = None if objective.refines else 0
    dataset = data.once(data.test)
    nll = importance_weighted_nll(model, dataset, config.iw_samples, steps)
    if objective.latent:
        numbers = _bounds(config, data, model, dataset, steps)
    else:
        numbers = _exact(data, nll)
    numbers |= {"iw_nll": float(nll.mean()), **data.measures("iw", nll)}
    return {
        "system": config.system,
        "test": numbers,
        **_run(config, model, state),
        **data.facts(),
        "test_seconds": time.perf_counter() - began,
        "configuration": config.identity(),
        "versions": versions(),
    }


def _bounds(config, data, model, dataset, steps):
    bounds = evaluate_bounds(model, dataset, steps)
    numbers = {
        "bound": float(bounds.bound.mean()),
        "nll": float(bounds.nll.mean()),
        "kl": float(bounds.kl.mean()),
        "amortized_bound": float(bounds.amortized_bound.mean()),
        "active_units": active_units(bounds.mean) if len(bounds.mean) > 1 else None,
        "iw_samples": config.iw_samples,
        **data.measures("", bounds.bound),
    }
    if not config.objective.uses_encoder:  # lambda_0 is the prior.
        del numbers["amortized_bound"]
    return numbers


def _exact(data, nll):
    mean = float(nll.mean())
    return {"bound": mean, "nll": mean, "kl": 0.0, **data.measures("", nll)}


def _run(config, model, state):
    history, crosses = state["history"], config.objective.crosses_refinement
    return {
        "epochs": len(history),
        "best_epoch": progress_of(history, config).best_epoch,
        "steps": history[-1]["step"],
        "step_seconds": statistics.median(row["step_seconds"] for row in history),
        "train_seconds": state["seconds"],
        "start_from": config.start_from or None,
        "parameters": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        **{
            name: state.get(name, getattr(config, name)) if crosses else None
            for name in ("hvp", "keep")
        },
        "xla": bool(model.jit_compile),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the software that the numbers depend on."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "tensorflow_probability": tfp.__version__,
    }


def print_report(report: dict[str, Any], unit: str) -> None:
    """Prints the report as a table; `unit` is the name of one example."""
    test = report["test"]
    print(f"\n{report['system']} on {report[f'{unit}s']['test']:,} test {unit}s")
    for name in QUANTITIES:
        if test.get(name) is not None:
            print(_line(name, test[name], unit if name == "bound" else None))
    print(_line("epochs", f"{report['epochs']} ({report['best_epoch']})"))
    print(_line("step_seconds", f"{report['step_seconds']:.3f}"))
    print(_line("train_seconds", f"{report['train_seconds']:,.0f}"))
    print(_line("parameters", f"{report['parameters']:,}"))


def _line(name, value, unit=None):
    text = f"{value:,.2f}" if isinstance(value, float) else value
    return f"  {row_label(name, unit):40}{text:>12}"
