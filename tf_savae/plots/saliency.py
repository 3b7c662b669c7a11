"""Plots word saliency: one sentence, and averages over a corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_savae.analysis import Averages
from tf_savae.plots.figure import new_figure

__all__ = ["save_corpus", "save_sentence"]

_COLOURS = {"encoder": "#0072b2", "decoder": "#d55e00"}
_LABELS = {
    "encoder": "encoder: ‖∂ mean / ∂ embedding‖",
    "decoder": "decoder: ‖∂ log p / ∂z‖\n(nats per unit of z)",
}
_TITLES = {
    "encoder": "Saliency of each input word for the latent variables",
    "decoder": "Saliency of the latent variables for each output word",
}


def save_sentence(
    saliency: Any, number: int, words: Sequence[str], folder: Path, name: str = "sentence"
) -> None:
    """Writes saliency of document `number` (from 1) to `name`.npz, and its plot to `name`.png."""
    count = len(words)
    rows = {
        part: getattr(saliency, part)[number - 1, :count]
        for part in ("encoder", "decoder")
        if getattr(saliency, part) is not None
    }
    np.savez(folder / f"{name}.npz", words=np.array(words), **rows)
    figure = new_figure(max(7.0, 0.27 * count + 2.0), 2.3 * len(rows) + 1.6)
    panels = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
    for axes, (part, values) in zip(panels, rows.items(), strict=True):
        axes.bar(np.arange(count), np.nan_to_num(values), color=_COLOURS[part], width=0.8)
        axes.set_ylabel(_LABELS[part], fontsize=9)
        axes.set_title(_TITLES[part], fontsize=10, loc="left")
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xticks(np.arange(count), words, rotation=90, fontsize=9)
    figure.suptitle(f"Document {number}")
    figure.savefig(folder / f"{name}.png")


def save_corpus(
    saliency: Any, averages: dict[str, dict[str, Averages]], folder: Path, name: str = "corpus"
) -> None:
    """Writes the saliency of every token to `name`.npz, and a plot of averages to `name`.png.

    Args:
      saliency: `Saliency`.
      averages: {"encoder" or "decoder": {"position", "frequency", "tag": `Averages`}}.
      folder: folder of both files.
      name: name of the files without suffix.
    """
    arrays = {field: value for field, value in saliency._asdict().items() if value is not None}
    for part, tables in averages.items():
        for by, table in tables.items():
            arrays |= {f"{part}_{by}_{f}": np.array(v) for f, v in table._asdict().items()}
    np.savez(folder / f"{name}.npz", **arrays)
    columns = list(next(iter(averages.values())))
    figure = new_figure(1.0 + 4.4 * len(columns), 1.0 + 3.2 * len(averages))
    panels = figure.subplots(len(averages), len(columns), squeeze=False)
    for row, (part, tables) in zip(panels, averages.items(), strict=True):
        for axes, by in zip(row, columns, strict=True):
            draw = _curve if by == "position" else _bars
            draw(axes, tables[by], _COLOURS[part])
            axes.set_title({"frequency": "by frequency", "tag": "by tag"}.get(by, "by position"))
        row[0].set_ylabel(_LABELS[part], fontsize=9)
    figure.suptitle(
        f"Saliency in {len(saliency.tokens):,} documents, mean ± standard error over documents"
    )
    figure.savefig(folder / f"{name}.png")


def _curve(axes, table, colour):
    places = np.array([int(name) for name in table.names])
    error = np.nan_to_num(table.standard_error)
    low, high = table.mean - error, table.mean + error
    axes.plot(places, table.mean, color=colour)
    axes.fill_between(places, low, high, color=colour, alpha=0.25, lw=0)
    axes.set_xlabel("position in the document (1: <s>)")
    axes.set_ylim(bottom=0.0)
    axes.spines[["top", "right"]].set_visible(False)


def _bars(axes, table, colour, most=14):
    """Plots the groups with most tokens as bars, in the order of the table from the top."""
    chosen = np.sort(np.argsort(-table.count, kind="stable")[:most])
    error = np.nan_to_num(table.standard_error[chosen])
    places = -np.arange(len(chosen))
    axes.barh(places, table.mean[chosen], xerr=error, color=colour, height=0.7, capsize=2)
    labels = [f"{table.names[i]} ({table.count[i]:,})" for i in chosen]
    axes.set_yticks(places, labels, fontsize=9)
    axes.set_xlabel("saliency (number of tokens in brackets)")
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
