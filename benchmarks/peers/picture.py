"""The contest as bars: one panel an event, one bar a contender."""

from peers.contenders import in_words, split
from peers.results import event_of, title

__all__ = ["draw"]

_COLOURS = {"ours": "#c03a2b", "jax": "#2b6cc0", "torch": "#8a8a8a", "before": "#e3a79f"}


def draw(rows, path):
    """Writes the picture: medians with quartiles as whiskers, milliseconds."""
    from matplotlib.figure import Figure

    timed = [row for row in rows if "median" in row]
    events = list(dict.fromkeys(event_of(row) for row in timed))
    if not events:
        return
    columns = min(4, len(events))
    lines = -(-len(events) // columns)
    figure = Figure(figsize=(5 * columns, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for panel, event in zip(panels, events, strict=False):
        _panel(panel, event, [row for row in timed if event_of(row) == event])
    for panel in panels[len(events) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=120)


def _panel(panel, event, rows):
    medians = [1e3 * row["median"] for row in rows]
    below = [1e3 * (row["median"] - row["lower_quartile"]) for row in rows]
    above = [1e3 * (row["upper_quartile"] - row["median"]) for row in rows]
    colours = [_COLOURS[split(row["contender"])[0]] for row in rows]
    panel.barh(range(len(rows)), medians, xerr=[below, above], color=colours, ecolor="black")
    panel.set_yticks(range(len(rows)), [in_words(row["contender"]) for row in rows], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("milliseconds (lower is better)")
    panel.set_title(title(event), fontsize=10)
