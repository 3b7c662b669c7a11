"""Plots a `RefinementPath`: ELBO, distance from lambda_0 and gradient norm against the step."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_savae.analysis import RefinementPath, refinement_path
from tf_savae.core.typing import PathLike
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN
from tf_savae.plots.results import result_of
from tf_savae.probability import DiagonalGaussian, Family

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_path", "save_path"]

_QUANTILES = (0.05, 0.25, 0.75, 0.95)


def save_path(
    path: RefinementPath,
    folder: Path,
    family: Family,
    unit: str = "example",
    name: str = "refinement",
) -> None:
    """Writes all arrays of the `RefinementPath` to `name`.npz, and their plot to `name`.png."""
    np.savez(folder / f"{name}.npz", **path._asdict())
    plot_path(path, folder / f"{name}.png", _tensor_names(family, len(path.moved)), unit)


def _tensor_names(family, count):
    if isinstance(family, DiagonalGaussian):
        return ["means", "log variances"]
    return [f"parameters {index + 1}" for index in range(count)]


def plot_path(
    path: Any,
    file: PathLike | None = None,
    names: Sequence[str] | None = None,
    unit: str = "example",
    *,
    data: Any = None,
    **options: Any,
) -> "Figure":
    """Plots the ELBO gain, the distance from lambda_0 and the SVI gradient norm against the step.

    Args:
      path: `analysis.RefinementPath`, or a compiled model to evaluate on `data`.
      file: PNG file to write, replacing an existing one; None for no file.
      names: names of the family's tensors, one for each of `path.moved`.
      unit: name of one example.
      data: finite `tf.data.Dataset`, with a model.
      **options: options of `analysis.refinement_path`, with a model, such as `steps=10`.

    Raises:
      ValueError: a model without data, data or options with a result, or another number of names.

    >>> path = RefinementPath(*np.ones([2, 4, 3]), np.ones([2, 4, 3]), *np.ones([2, 3, 3]))
    >>> [axes.get_xlabel() for axes in plot_path(path).axes][:2]
    ['refinement step k', 'refinement step k']
    """
    family = getattr(path, "family", None)
    path = result_of("path", path, refinement_path, data, **options)
    tensors = len(path.moved)
    names = _tensor_names(family, tensors) if names is None else names
    if len(names) != tensors:
        raise ValueError(f"names: expected one for each of {tensors} tensors, got {names!r}.")
    panels_count = 2 + len(path.moved)
    figure = new_figure(4.3 * panels_count, 4.4)
    panels = figure.subplots(1, panels_count)
    _spread(panels[0], path.bound[0] - path.bound)
    panels[0].axhline(0.0, color="gray", lw=0.7)
    panels[0].set_ylabel(f"ELBO gained over λ₀ (nats per {unit})\nhigher is better")
    for axes, moved, label in zip(panels[1:-1], path.moved, names, strict=True):
        _spread(axes, moved)
        axes.set_ylabel(f"|λₖ − λ₀| of the {label}")
        axes.set_ylim(bottom=0.0)
    _spread(panels[-1], path.gradient_norm)
    panels[-1].set_ylabel("norm of the SVI gradient (nats per unit of λ)")
    panels[-1].set_ylim(bottom=0.0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Refinement of {path.nll.shape[1]:,} {unit}s, step by step")
    return finished(figure, file)


def _spread(axes, values):
    """Plots mean and quantiles of values [K + 1, N] or [K, N] against the step."""
    from matplotlib.ticker import MaxNLocator

    steps = np.arange(len(values))
    low, lower, upper, high = np.quantile(values, _QUANTILES, axis=1)
    axes.fill_between(steps, low, high, color=MAIN, alpha=0.15, lw=0, label="5% to 95%")
    axes.fill_between(steps, lower, upper, color=MAIN, alpha=0.3, lw=0, label="25% to 75%")
    axes.plot(steps, np.median(values, axis=1), "--", color="black", lw=1, label="median")
    axes.plot(steps, values.mean(axis=1), "o-", color=MAIN, ms=4, label="mean")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("refinement step k")
