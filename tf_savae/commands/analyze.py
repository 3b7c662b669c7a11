"""`analyze_run`: analysis of a finished run."""

from typing import Any

import numpy as np

from tf_savae.analysis import log_probs_of_parts, refinement_path
from tf_savae.commands.evaluate.config import AnalyzeConfig
from tf_savae.commands.final_messages import analyzed
from tf_savae.commands.read_split import read_split
from tf_savae.commands.results_folder import Output
from tf_savae.commands.step_samples import set_step_samples
from tf_savae.core.typing import PathLike
from tf_savae.plots.refinement_path import save_path
from tf_savae.tasks import load_run
from tf_savae.training.report import versions

__all__ = ["AnalyzeConfig", "analyze_run"]


def analyze_run(
    config: AnalyzeConfig, workdir: PathLike, output: PathLike | None = None
) -> dict[str, Any]:
    """Analyses the latent variables of a run: saliency and refinement path.

    Existing files are not modified.

    Args:
      config: `AnalyzeConfig`.
      workdir: folder of a finished run.
      output: new or empty folder for analysis.json and figures with their arrays; by default
        WORKDIR/analysis, or analysis-2 and so on.

    Returns:
      A dict with the content of analysis.json.

    Raises:
      FileNotFoundError, ValueError: the run, the data, the tags or the output folder is invalid;
        raised before the analysis starts.
    """
    run = load_run(workdir)
    _check_run(run)
    set_step_samples(run, config)
    split = read_split(run, config)
    if config.example > split.examples:
        raise ValueError(
            f"example: expected a number from 1 to {split.examples}, the {split.unit}s that are "
            f"used (see max_examples); got {config.example}."
        )
    tags = run.task.read_tags(run, split, config)
    folder = Output(workdir, "analysis", output)
    report = {
        "system": run.system,
        "split": config.split,
        "file": str(config.file),
        "examples": split.examples,
        "unit": split.unit,
    }
    steps = run.model.inference_steps if config.steps == -1 else config.steps
    report["saliency"] = run.task.analyze(run, split, config, steps, tags, folder)
    report |= {"refinement": _refinement(run, split, config, folder)}
    report |= {"configuration": vars(config), "run": run.configuration, "versions": versions()}
    folder.write_tensorboard({})
    folder.write_json("analysis.json", report)
    print(f"\n{_text(report)}\n\n{analyzed(workdir, config, folder.path)}")
    return report


def _check_run(run):
    """Raises ValueError if the run's networks do not support the analysis."""
    if not run.latent:
        raise ValueError(
            f"workdir {run.workdir}: expected a run with latent variables to analyze, got the "
            f"system {run.system}."
        )
    log_probs_of_parts(run.model.decoder)
    run.task.check_networks(run)


def _refinement(run, split, config, folder):
    """Returns the summary of the refinement path, or None for a run without refinement."""
    steps = run.model.refinement.last_steps if config.steps == -1 else config.steps
    if not steps:
        return None
    path = refinement_path(
        run.model,
        split.dataset(),
        steps,
        noises=config.noises,
        seed=config.seed,
        label=f"refinement of {split.examples} {split.unit}s",
    )
    save_path(path, folder, run.model.family, split.unit)
    gain = path.bound[0] - path.bound
    return {
        "bound": path.bound.mean(axis=1).tolist(),
        "kl": path.kl.mean(axis=1).tolist(),
        "gain_quantiles": np.quantile(gain, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1).T.tolist(),
        "moved": path.moved.mean(axis=2).tolist(),
        "made_worse": float(np.mean(gain[-1] < 0)),
    }


def _text(report):
    """Returns the main results as readable text."""
    lines = [f"{report['system']}, {report['examples']:,} {report['unit']}s ({report['split']})"]
    lines += _saliency_lines(report["saliency"])
    path = report["refinement"]
    if path:
        steps = len(path["bound"]) - 1
        lines.append(
            f"  {steps} refinement steps gain {path['bound'][0] - path['bound'][-1]:.3f} nats on "
            f"average; {path['made_worse']:.0%} of the {report['unit']}s end worse than they began"
        )
    return "\n".join(lines)


def _saliency_lines(saliency):
    if "mean" in saliency:
        known = {name: value for name, value in saliency.items() if value is not None}
        return [f"  saliency of z, {name}: {value:.4g}" for name, value in known.items()]
    lines = []
    for part, tables in saliency.items():
        lines.append(f"  {part} saliency")
        for by in ("frequency", "tag"):
            for name, row in tables.get(by, {}).items():
                error = row["standard_error"]
                error = "" if error is None else f" ± {error:.2g}"
                cells = f"{row['mean']:10.4f}{error:12}{row['tokens']:>9,} tokens"
                lines.append(f"    {name:24}{cells}")
    return lines
