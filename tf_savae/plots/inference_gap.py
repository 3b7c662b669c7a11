"""Plots an `InferenceGap`: its parts, the recovered part, and the search for lambda*."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.evaluation import InferenceGap, inference_gap
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN, NEUTRAL, SECOND
from tf_savae.plots.results import result_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_gap", "save_gap"]

_COLOURS = {"approximation": NEUTRAL, "left": SECOND, "recovered": MAIN}


def save_gap(gap: InferenceGap, folder: Path, unit: str = "example", name: str = "gap") -> None:
    """Writes all arrays of the `InferenceGap` to `name`.npz, and their plot to `name`.png."""
    arrays = {field: value for field, value in gap._asdict().items() if value is not None}
    np.savez(folder / f"{name}.npz", **arrays)
    plot_gap(gap, folder / f"{name}.png", unit)


def plot_gap(
    gap: Any,
    file: PathLike | None = None,
    unit: str = "example",
    *,
    data: Any = None,
    **options: Any,
) -> "Figure":
    """Plots the gap between log p(x) and the bound, and the part that refinement recovers.

    Args:
      gap: `evaluation.InferenceGap`, or a compiled model to evaluate on `data`.
      file: PNG file to write, replacing an existing one; None for no file.
      unit: name of one example.
      data: finite `tf.data.Dataset`, with a model.
      **options: options of `evaluation.inference_gap`, with a model, such as `samples=100`.

    Raises:
      ValueError: a model without data, or data or options with a result.

    >>> ones = np.ones([3])
    >>> gap = InferenceGap(4 * ones, 3 * ones, 2 * ones, ones, ones, np.ones([3, 2]), steps=5)
    >>> plot_gap(gap).axes[1].get_title()
    'what 5 steps recover'
    """
    gap = result_of("gap", gap, inference_gap, data, **options)
    figure = new_figure(13, 4.6)
    bar, recovered, search = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _parts(bar, gap, unit)
    _each(recovered, gap)
    _search(search, gap, unit)
    figure.suptitle(
        f"Inference gap, {len(gap.nll):,} {unit}s: on average {gap.inference_gap.mean():.3g} nats "
        "between log p(x) and the ELBO before refinement"
    )
    return finished(figure, file)


def _parts(axes, gap, unit):
    """Plots the parts of the gap from log p(x) to the encoder's ELBO as bars."""
    left = gap.amortization_gap.mean() - gap.recovered.mean()
    parts = [
        (
            "approximation gap: what the family cannot express",
            "approximation",
            gap.approximation_gap.mean(),
        ),
        (f"amortization gap that {gap.steps} steps leave", "left", left),
        (f"amortization gap that {gap.steps} steps recover", "recovered", gap.recovered.mean()),
    ]
    start = 0.0
    for row, (label, colour, width) in enumerate(parts):
        axes.barh(-row, width, left=start, color=_COLOURS[colour], height=0.55)
        place = {"xytext": (4, 2), "textcoords": "offset points", "zorder": 3}
        clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.annotate(f"{label}: {width:.3g}", (0.0, -row + 0.3), bbox=clear, **place)
        start += width
        if row < 2:
            axes.plot([start, start], [-row - 0.72, -row], color="black", lw=0.7)
    errors = gap.inference_gap.std(ddof=1) / np.sqrt(len(gap.nll)) if len(gap.nll) > 1 else 0.0
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_title("mean over the examples")
    axes.set_ylim(-2.45, 0.72)
    axes.set_yticks([])
    axes.set_xlabel(f"nats per {unit} below log p(x) (sum {start:.3g} ± {errors:.2g})")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _each(axes, gap):
    """Plots the recovered part against the amortization gap of every example."""
    high = 1.05 * max(gap.amortization_gap.max(), gap.recovered.max(), 1e-6)
    low = min(0.0, 1.1 * gap.amortization_gap.min(), 1.1 * gap.recovered.min())
    axes.plot([low, high], [low, high], color="black", lw=0.8, label="fully recovered")
    style = {"ls": "none", "color": _COLOURS["recovered"], "alpha": 0.6, "ms": 5, "mew": 0}
    axes.plot(gap.amortization_gap, gap.recovered, "o", **style, label="one example")
    axes.axhline(0.0, color="gray", lw=0.6)
    axes.set_title(f"what {gap.steps} steps recover")
    axes.set_xlabel("amortization gap (nats)")
    axes.set_ylabel(f"recovered by {gap.steps} steps (nats)")
    axes.legend(frameon=False, loc="upper left")


def _search(axes, gap, unit):
    """Plots the search for lambda*, which must have converged for lambda* to be an optimum."""
    history = gap.history.mean(axis=0)
    done = np.linspace(0, 100, len(history))
    axes.plot(done, history - history[-1], "o-", color=_COLOURS["left"], ms=4)
    axes.set_title("the search for λ*")
    axes.set_xlabel("progress of the search (%)")
    axes.set_ylabel(f"nats per {unit} above its final value\nlower is better")
    axes.set_ylim(bottom=0.0)
