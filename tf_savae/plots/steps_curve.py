"""Plots a `StepsCurve`: bound, KL and time against refinement steps at test time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.evaluation import StepsCurve, steps_curve
from tf_savae.evaluation.quantities import axis_label, row_label
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN, SECOND
from tf_savae.plots.results import result_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_steps", "save_steps"]


def save_steps(
    curve: StepsCurve,
    folder: Path,
    trained: int | None = None,
    unit: str = "example",
    name: str = "steps",
) -> None:
    """Writes all arrays of the `StepsCurve` to `name`.npz, and their plot to `name`.png."""
    np.savez(folder / f"{name}.npz", **curve._asdict())
    plot_steps(curve, folder / f"{name}.png", trained, unit)


def plot_steps(
    curve: Any,
    file: PathLike | None = None,
    trained: int | None = None,
    unit: str = "example",
    *,
    data: Any = None,
    **options: Any,
) -> "Figure":
    """Plots bound, KL and time against K, the number of refinement steps at test time.

    Args:
      curve: `evaluation.StepsCurve`, or a compiled model to evaluate on `data`.
      file: PNG file to write, replacing an existing one; None for no file.
      trained: K in training, marked in the plot; by default that of the model, if any.
      unit: name of one example.
      data: finite `tf.data.Dataset`, with a model.
      **options: options of `evaluation.steps_curve`, with a model, such as `steps=(0, 5, 10)`.

    Raises:
      ValueError: a model without data, or data or options with a result.

    >>> numbers = np.array([[9.0, 8.0], [7.0, 6.0]])
    >>> steps = np.array([0.0, 5.0])
    >>> curve = StepsCurve(["K=0", "K=5"], steps, numbers, numbers, steps, numbers)
    >>> plot_steps(curve, trained=5).axes[0].get_ylabel()
    'negative ELBO (nats per example)\\nlower is better'
    """
    if isinstance(curve, keras.Model):
        trained = curve.inference_steps if trained is None else trained
    curve = result_of("curve", curve, steps_curve, data, **options)
    figure = new_figure(13, 4.4)
    panels = figure.subplots(1, 3)
    gain = curve.bound - curve.bound[np.argmin(curve.steps)]
    count = max(curve.bound.shape[1] - 1, 1)
    errors = gain.std(axis=1) / np.sqrt(count)
    titles = (
        (axis_label("bound", unit), curve.bound.mean(axis=1), errors),
        (axis_label("kl", unit), curve.kl.mean(axis=1), None),
        (axis_label("milliseconds", unit), curve.milliseconds, None),
    )
    for axes, (title, values, band) in zip(panels, titles, strict=True):
        _panel(axes, curve, values, band, trained)
        axes.set_ylabel(title)
    panels[2].set_ylim(bottom=0.0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"Refinement steps at test time, {curve.bound.shape[1]:,} {unit}s")
    return finished(figure, file)


def _panel(axes, curve, values, errors, trained):
    fixed = [i for i, label in enumerate(curve.labels) if label.startswith("K=")]
    fixed.sort(key=lambda i: curve.steps[i])
    steps = curve.steps[fixed]
    axes.plot(steps, values[fixed], "o-", color=MAIN, ms=5, label="the same K for all")
    if errors is not None:
        low, high = values[fixed] - errors[fixed], values[fixed] + errors[fixed]
        label = "± standard error of the difference from the smallest K"
        axes.fill_between(steps, low, high, color=MAIN, alpha=0.2, lw=0, label=label)
    for number, index in enumerate(i for i in range(len(values)) if i not in fixed):
        marker = {"color": SECOND, "marker": "^sDvP*"[number % 6], "ms": 9, "mec": "black"}
        stopping = curve.labels[index].replace("until", "until a step gains")
        label = f"K chosen per example: {stopping}"
        axes.plot(curve.steps[index], values[index], ls="none", label=label, **marker)
    if trained is not None:
        axes.axvline(trained, color="gray", lw=0.8, ls="--", label="K in training")
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.7)
    axes.set_xticks(steps, [f"{k:g}" for k in steps])
    axes.minorticks_off()
    axes.set_xlim(-0.15, 1.25 * max(steps.max(), 1))
    axes.set_xlabel(row_label("steps"))
