"""`evaluate_run`: evaluation of a finished run."""

import time
from typing import Any

from tf_savae.commands.evaluate.config import EvaluateConfig
from tf_savae.commands.evaluate.measures import (
    exact_numbers,
    gap_numbers,
    posterior_numbers,
    steps_rows,
)
from tf_savae.commands.evaluate.table import report_text
from tf_savae.commands.final_messages import evaluated
from tf_savae.commands.read_split import read_split
from tf_savae.commands.results_folder import Output
from tf_savae.commands.step_samples import set_step_samples
from tf_savae.core.typing import PathLike
from tf_savae.evaluation import inference_gap, steps_curve
from tf_savae.plots.inference_gap import save_gap
from tf_savae.plots.steps_curve import save_steps
from tf_savae.tasks import load_run
from tf_savae.training.report import versions

__all__ = ["evaluate_run"]


def evaluate_run(
    config: EvaluateConfig, workdir: PathLike, output: PathLike | None = None
) -> dict[str, Any]:
    """Evaluates the model of the run in `workdir`; existing files are not modified.

    Args:
      config: `EvaluateConfig`.
      workdir: folder of a finished run.
      output: new or empty folder for report.json, report.txt, figures with their arrays, and
        TensorBoard files; by default WORKDIR/evaluation, or evaluation-2 and so on.

    Returns:
      The report, a dict with the content of report.json.

    Raises:
      FileNotFoundError, ValueError: the run, the data or the output folder is invalid; raised
        before the evaluation starts.
    """
    began = time.perf_counter()
    run = load_run(workdir)
    set_step_samples(run, config)
    split = read_split(run, config)
    folder = Output(workdir, "evaluation", output)
    report = {
        "system": run.system,
        "kind": run.kind,
        "split": config.split,
        "file": str(config.file),
        "examples": split.examples,
        "unit": split.unit,
        "posteriors": _posteriors(run, split, config),
    }
    if run.latent and config.gap_examples:
        report["gap"] = _gap(run, split, config, folder)
    if run.latent and config.curve_examples:
        report["curve"] = _curve(run, split, config, folder)
    report |= {
        "seconds": time.perf_counter() - began,
        "configuration": _as_json(config),
        "run": run.configuration,
        "versions": versions(),
    }
    folder.write_text("report.txt", report_text(report))
    folder.write_tensorboard(_scalars(report))
    folder.write_json("report.json", report)
    end = evaluated(run, config, workdir, folder.path)
    print(f"\n{report_text(report)}\n{end}")
    return report


def _as_json(config):
    fields = vars(config).items()
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields}


def _steps(run, config):
    """Returns K of the refined posterior, also for systems that do not refine (a plain VAE)."""
    return run.model.refinement.last_steps if config.steps == -1 else config.steps


def _posteriors(run, split, config):
    """Returns the measures of the encoder's posterior, if any, and of the refined posterior."""
    if not run.latent:
        return {"exact": exact_numbers(run, split, config)}
    ways = {"encoder": 0, "refined": _steps(run, config)}
    if run.model.encoder is None:
        del ways["encoder"]
    return {
        name: posterior_numbers(run, split, config, steps, f"{name} posterior")
        for name, steps in ways.items()
    }


def _gap(run, split, config, folder):
    count = min(config.gap_examples, split.examples)
    gap = inference_gap(
        run.model,
        split.subset(count),
        steps=_steps(run, config),
        optimisation_steps=config.gap_steps,
        step_size=config.gap_step_size,
        samples=config.samples,
        noises=config.gap_noises,
        chunk=config.chunk,
        seed=config.seed,
        label=f"inference gap of {count} {split.unit}s",
    )
    save_gap(gap, folder, split.unit)
    return gap_numbers(gap)


def _curve(run, split, config, folder):
    count = min(config.curve_examples, split.examples)
    curve = steps_curve(
        run.model,
        split.subset(count),
        config.curve_steps,
        config.curve_tolerances,
        stopping_samples=config.curve_stopping_samples,
        noises=config.curve_noises,
        seed=config.seed,
        label=f"refinement steps at test time, {count} {split.unit}s",
    )
    save_steps(curve, folder, _trained_steps(run), split.unit)
    return steps_rows(curve)


def _trained_steps(run):
    """Returns K of training, which is 0 for a plain VAE."""
    return run.model.inference_steps


def _scalars(report):
    """Returns {name: number} of the report's means, for TensorBoard."""
    flat = {}
    groups = {**report["posteriors"], "gap": report.get("gap", {})}
    for group, numbers in groups.items():
        for name, value in numbers.items():
            value = value["mean"] if isinstance(value, dict) else value
            if isinstance(value, (int, float)):
                flat[f"{group}/{name}"] = value
    return flat
