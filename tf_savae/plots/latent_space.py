"""Plots posterior means, coloured by the labels of the examples."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tf_savae.core.typing import PathLike
from tf_savae.plots.figure import finished, new_figure
from tf_savae.plots.palette import MAIN
from tf_savae.plots.results import result_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_latent_space"]

_MOST_KINDS = 20  # number of distinguishable colours in a legend


def plot_latent_space(
    codes: Any,
    file: PathLike | None = None,
    *,
    data: Any = None,
    labels: Any = None,
    dimensions: tuple[int, int] | None = None,
    unit: str = "example",
) -> "Figure":
    """Plots posterior means of examples in two latent dimensions, coloured by their labels.

    Args:
      codes: posterior means [N, Z] with Z >= 2, or a model whose refined posterior means of `data`
        are plotted.
      file: PNG file to write, replacing an existing one; None for no file.
      data: x [N, ...], with a model.
      labels: one label per example: names or integers (at most 20 values have a legend), or real
        numbers, which have a colour bar. None for no colours.
      dimensions: the two plotted dimensions, counted from 0; by default those of largest variance.
      unit: name of one example.

    Raises:
      ValueError: codes or labels have another shape, a dimension is out of range, or data are
        missing with a model or given with codes.

    >>> codes = np.random.default_rng(0).normal(size=(6, 3)) * [1.0, 5.0, 3.0]
    >>> figure = plot_latent_space(codes, labels=list("aabbcc"))
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('mean of z₂', 'mean of z₃')
    """
    codes = np.asarray(result_of("codes", codes, _posterior_means, data), float)
    if codes.ndim != 2 or codes.shape[1] < 2 or not len(codes):
        raise ValueError(
            f"codes: expected [N, Z] with Z of at least 2, got shape {list(codes.shape)}."
        )
    first, second = _dimensions(codes, dimensions)
    figure = new_figure(6.6, 5.4)
    axes = figure.subplots()
    _draw(figure, axes, codes[:, first], codes[:, second], _labels(labels, len(codes)))
    for axis, chosen in ((axes.xaxis, first), (axes.yaxis, second)):
        axis.set_label_text(f"mean of z{_subscript(chosen + 1)}")
    axes.spines[["top", "right"]].set_visible(False)
    of = "" if codes.shape[1] == 2 else f", 2 of {codes.shape[1]} latent dimensions"
    figure.suptitle(f"Latent variables of {len(codes):,} {unit}s{of}")
    return finished(figure, file)


def _posterior_means(model, data):
    return model.infer(data).mean()


def _dimensions(codes, chosen):
    if chosen is None:
        return np.sort(np.argsort(-codes.var(axis=0), kind="stable")[:2])
    size = codes.shape[1]
    if len(chosen) != 2 or not all(0 <= c < size for c in chosen):
        raise ValueError(f"dimensions: expected two numbers from 0 to {size - 1}, got {chosen!r}.")
    return chosen


def _labels(labels, count):
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(
            f"labels: expected one for each of {count} codes, got shape {list(labels.shape)}."
        )
    return labels


def _draw(figure, axes, x, y, labels):
    import matplotlib

    style = {"s": 14, "alpha": 0.75, "linewidths": 0}
    if labels is None:
        axes.scatter(x, y, color=MAIN, **style)
        return
    kinds = np.unique(labels)
    if labels.dtype.kind == "f" or (len(kinds) > _MOST_KINDS and labels.dtype.kind in "iu"):
        figure.colorbar(axes.scatter(x, y, c=labels, cmap="viridis", **style), label="label")
        return
    listed: Any = matplotlib.colormaps["tab10" if len(kinds) <= 10 else "tab20"]
    for number, kind in enumerate(kinds[:_MOST_KINDS]):
        of = labels == kind
        axes.scatter(x[of], y[of], color=listed.colors[number], label=str(kind), **style)
    if len(kinds) > _MOST_KINDS:
        of = ~np.isin(labels, kinds[:_MOST_KINDS])
        axes.scatter(x[of], y[of], color="#cccccc", label="others", **style)
    figure.legend(loc="outside right upper", title="label", frameon=False, markerscale=1.6)


def _subscript(number):
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
