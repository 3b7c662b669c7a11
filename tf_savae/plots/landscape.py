"""Plots an ELBO landscape with refinement paths."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_savae.core import validation
from tf_savae.core.typing import PathLike
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import SYSTEM_COLOURS, SYSTEM_LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_landscape", "save_landscape"]

_MARKERS = {"vae": "s", "svi": "^", "savae": "o"}
_NOTE = (
    "Markers show the final means of each system; the legend gives its bound with its own "
    "variances.\nThe map uses the variances of SA-VAE: bounds of other systems, SVI above all, "
    "differ from the map at their markers."
)
_STEPS_ABOVE = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)  # nats above the optimum


def save_landscape(shown: Any, folder: Path, name: str = "landscape") -> None:
    """Writes all arrays of the `Landscape` to `name`.npz, and their plot to `name`.png."""
    arrays = {"log_variance": shown.log_variance}
    for part in ("whole", "near"):
        for field, value in getattr(shown, part)._asdict().items():
            arrays[f"{part}_{field}"] = value
    for system, path in shown.paths.items():
        arrays[f"{system}_path"] = path
        arrays[f"{system}_end"] = shown.ends[system]
    np.savez(folder / f"{name}.npz", **arrays)
    plot_landscape(shown, folder / f"{name}.png")


def plot_landscape(shown: Any, file: PathLike | None = None) -> "Figure":
    """Plots the negative ELBO against the two means of one posterior, with refinement paths.

    Args:
      shown: `Landscape` of the oracle experiment.
      file: PNG file to write, replacing an existing one; None for no file.
    """
    validation.finite("landscape", shown.whole.values, "Check the weights of the trained model.")
    figure = new_figure(12, 6.9)
    left, right = figure.subplots(1, 2)
    best = min(shown.whole.optimum[1], shown.near.optimum[1])
    _draw(left, shown, shown.whole, best)
    contours = _draw(right, shown, shown.near, best)
    left.set_title("prior and all paths")
    right.set_title("around the optimum")
    bar = figure.colorbar(
        contours, ax=[left, right], label="nats above the optimum, lower is better", pad=0.01
    )
    bar.set_ticks(contours.levels, labels=[f"{level:g}" for level in contours.levels])
    start = {"marker": "o", "mfc": "none", "mec": "black", "mew": 2, "ls": "none"}
    left.plot([], [], ms=8, label="before refinement (open)", **start)
    handles, labels = left.get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": 5, "frameon": False}
    figure.legend(handles, labels, title=_NOTE, title_fontsize=9, **place)
    deviations = np.exp(0.5 * np.asarray(shown.log_variance))
    figure.suptitle(
        "Negative ELBO of one test sentence over the means of its posterior "
        f"(standard deviations held at SA-VAE's, {deviations[0]:.2f} and {deviations[1]:.2f})"
    )
    return finished(figure, file)


def _draw(axes, shown, window, best):
    from matplotlib.colors import BoundaryNorm

    above = np.maximum(window.values - best, 0.0)
    levels = (0.0, *_STEPS_ABOVE)
    norm = BoundaryNorm(levels, 256, extend="max")
    filled = axes.contourf(
        window.first, window.second, above, levels, cmap="viridis_r", norm=norm, extend="max"
    )
    axes.contour(
        window.first, window.second, above, levels[1:], colors="white", linewidths=0.4, alpha=0.6
    )
    (x, y), _ = shown.near.optimum
    label = f"grid optimum: {best:.1f} nats"
    axes.plot(x, y, "*", ms=15, mfc="white", mec="black", ls="none", label=label)
    for system, marker in _MARKERS.items():
        if system in shown.paths:
            label = f"{SYSTEM_LABELS[system]}: {shown.ends[system]:.1f}"
            _path(axes, shown.paths[system], label, SYSTEM_COLOURS[system], marker)
    axes.set_xlim(window.first[0], window.first[-1])
    axes.set_ylim(window.second[0], window.second[-1])
    axes.set_aspect("equal")
    axes.set_xlabel("mean of z₁ (prior standard deviations)")
    axes.set_ylabel("mean of z₂ (prior standard deviations)")
    return filled


def _path(axes, path, label, colour, marker):
    if len(path) > 1:
        axes.plot(*path.T, "-", color="black", lw=2.6)
        axes.plot(*path.T, "-", color=colour, lw=1.4, marker=".", ms=5, mec="black", mew=0.3)
        axes.plot(*path[0], marker, ms=8, mfc="none", mec=colour, mew=2)
    end = {"mfc": colour, "mec": "black", "ls": "none"}
    axes.plot(*path[-1], marker, ms=10, label=f"{label} nats", **end)
