"""Plot a `RefinementPath`: ELBO against step, and how far lambda moves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_savae.analysis import RefinementPath
from tf_savae.core.typing import PathLike
from tf_savae.plots.figure import new_figure
from tf_savae.probability import DiagonalGaussian, Family

__all__ = ["plot_path", "save_path"]

_BLUE = "#0072b2"
_QUANTILES = (0.05, 0.25, 0.75, 0.95)


def save_path(
    path: RefinementPath,
    folder: Path,
    family: Family,
    unit: str = "example",
    name: str = "refinement",
) -> None:
    """Writes `name`.npz, all arrays of the `RefinementPath`, and `name`.png into a folder."""
    np.savez(folder / f"{name}.npz", **path._asdict())
    plot_path(path, folder / f"{name}.png", _tensor_names(family, len(path.moved)), unit)


def _tensor_names(family, count):
    if isinstance(family, DiagonalGaussian):
        return ["means", "log variances"]
    return [f"parameters {index + 1}" for index in range(count)]


def plot_path(
    path: RefinementPath, file: PathLike, names: Sequence[str], unit: str = "example"
) -> None:
    """Draws the picture into a PNG file; `names` are those of the family's tensors."""
    panels_count = 2 + len(path.moved)
    figure = new_figure(4.3 * panels_count, 4.4)
    panels = figure.subplots(1, panels_count)
    _spread(panels[0], path.bound[0] - path.bound)
    panels[0].axhline(0.0, color="gray", lw=0.7)
    panels[0].set_ylabel(f"ELBO gained over λ₀ (nats per {unit})")
    for axes, moved, label in zip(panels[1:], path.moved, names, strict=False):
        _spread(axes, moved)
        axes.set_ylabel(f"|λₖ − λ₀| of the {label}")
        axes.set_ylim(bottom=0.0)
    _spread(panels[-1], path.gradient_norm)
    panels[-1].set_ylabel("norm of the SVI gradient (nats per unit of λ)")
    panels[-1].set_ylim(bottom=0.0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Refinement of {path.nll.shape[1]:,} {unit}s, step by step")
    figure.savefig(file)


def _spread(axes, values):
    """Mean and quantiles of values [K, N] against the step."""
    from matplotlib.ticker import MaxNLocator

    steps = np.arange(len(values))
    low, lower, upper, high = np.quantile(values, _QUANTILES, axis=1)
    axes.fill_between(steps, low, high, color=_BLUE, alpha=0.15, lw=0, label="5% to 95%")
    axes.fill_between(steps, lower, upper, color=_BLUE, alpha=0.3, lw=0, label="25% to 75%")
    axes.plot(steps, np.median(values, axis=1), "--", color="black", lw=1, label="median")
    axes.plot(steps, values.mean(axis=1), "o-", color=_BLUE, ms=4, label="mean")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("refinement step k")
