"""Create a matplotlib figure without a display."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Drawing is rare: matplotlib is imported where it is done.
    from matplotlib.figure import Figure

__all__ = ["new_figure"]


def new_figure(width: float, height: float) -> "Figure":
    """An empty `Figure` of so many inches, to be saved with `savefig`.

    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # Whatever backend is set.
    return figure
