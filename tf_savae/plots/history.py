"""Plots bound and KL against epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.evaluation.quantities import axis_label
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN, NEUTRAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["history_arrays", "plot_history", "save_history"]


def save_history(
    history: Sequence[dict[str, Any]],
    folder: Path,
    unit: str = "example",
    name: str = "history",
) -> None:
    """Writes all columns of the history to `name`.npz, and their plot to `name`.png."""
    arrays: dict[str, Any] = history_arrays(history)
    np.savez(folder / f"{name}.npz", **arrays)
    plot_history(arrays, folder / f"{name}.png", unit)


def history_arrays(history: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Converts rows, as in history.json, to {column: float64 [E]}; missing entries are NaN.

    >>> history_arrays([{"epoch": 1, "kl": 0.5}, {"epoch": 2}])["kl"].tolist()
    [0.5, nan]
    """
    names = dict.fromkeys(name for row in history for name in row)
    nan = float("nan")
    return {name: np.array([row.get(name, nan) for row in history], float) for name in names}


def plot_history(history: Any, file: PathLike | None = None, unit: str = "example") -> "Figure":
    """Plots bound and KL against epoch, in training and validation.

    A model without a KL has one panel.

    Args:
      history: the result of `fit`, its `history` dict, or rows as in a run's history.json.
      file: PNG file to write, replacing an existing one; None for no file.
      unit: name of one example.

    Raises:
      ValueError: the history has no column `bound`.

    >>> figure = plot_history({"bound": [9.0, 8.0], "kl": [1.0, 2.0], "val_bound": [9.5, 8.2]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['negative ELBO (nats per example)\\nlower is better', 'KL (nats per example)']
    """
    arrays = _columns(history)
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
    return finished(figure, file)


def _columns(history):
    """Returns {column: [E]} of any form of history, with epochs counted from 1."""
    if hasattr(history, "history"):  # keras.callbacks.History
        history = history.history
    if not isinstance(history, dict):
        history = history_arrays(history)
    if len(history.get("bound", ())) == 0:
        raise ValueError(
            "history: expected what fit of a model of this package returned, with a column bound, "
            f"got columns {', '.join(history) or 'none'}."
        )
    return {"epoch": np.arange(1, len(history["bound"]) + 1), **history}


def _panel(axes, arrays, name):
    """Plots training and validation curves, and validation before refinement if available."""
    from matplotlib.ticker import MaxNLocator

    lines = [
        (name, "o-", NEUTRAL, "training (mean over the epoch)"),
        (f"val_{name}", "s-", MAIN, "validation"),
    ]
    if "val_refinement_gain" in arrays:
        lines.append((f"val_amortized_{name}", "^:", MAIN, "validation before refinement"))
    for column, style, colour, label in lines:
        if column in arrays:
            axes.plot(arrays["epoch"], arrays[column], style, color=colour, ms=4, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
