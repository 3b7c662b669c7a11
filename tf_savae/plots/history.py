"""Plot bound and KL against epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.evaluation.quantities import axis_label
from tf_savae.plots.figure import new_figure

__all__ = ["history_arrays", "plot_history", "save_history"]

_TRAIN, _VALID = "#0072b2", "#d55e00"


def save_history(
    history: Sequence[dict[str, Any]],
    folder: Path,
    unit: str = "example",
    name: str = "history",
) -> None:
    """Writes `name`.npz, all columns of the history, and `name`.png into a folder."""
    arrays: dict[str, Any] = history_arrays(history)
    np.savez(folder / f"{name}.npz", **arrays)
    plot_history(arrays, folder / f"{name}.png", unit)


def history_arrays(history: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """{column: float64 [E]} of rows as in history.json, NaN where a row has no such column.

    >>> history_arrays([{"epoch": 1, "kl": 0.5}, {"epoch": 2}])["kl"].tolist()
    [0.5, nan]
    """
    names = dict.fromkeys(name for row in history for name in row)
    nan = float("nan")
    return {name: np.array([row.get(name, nan) for row in history], float) for name in names}


def plot_history(arrays: dict[str, np.ndarray], file: PathLike, unit: str = "example") -> None:
    """Draws the picture of `history_arrays` into a PNG file; a model without KL has one panel."""
    names = [name for name in ("bound", "kl") if name in arrays]
    figure = new_figure(1.0 + 4.6 * len(names), 4.2)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axes, arrays, name)
        exact = name == "bound" and "kl" not in names
        axes.set_ylabel(axis_label("nll" if exact else name, unit))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    count = len(arrays["epoch"])
    figure.suptitle(f"Training, {count} epoch{'s' if count > 1 else ''}")
    figure.savefig(file)


def _panel(axes, arrays, name):
    """Both curves, and for the bound of a model that refines the one without refinement."""
    from matplotlib.ticker import MaxNLocator

    lines = [
        (name, "o-", _TRAIN, "training (mean over the epoch)"),
        (f"val_{name}", "s-", _VALID, "validation"),
    ]
    if "val_refinement_gain" in arrays:
        lines.append((f"val_amortized_{name}", "^:", _VALID, "validation before refinement"))
    for column, style, colour, label in lines:
        if column in arrays:
            axes.plot(arrays["epoch"], arrays[column], style, color=colour, ms=4, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
