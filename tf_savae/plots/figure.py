"""Creates matplotlib figures without a display."""

import io
from typing import TYPE_CHECKING

from tf_savae.core.typing import PathLike

if TYPE_CHECKING:  # At run time, matplotlib is imported by the functions that plot.
    from matplotlib.figure import Figure

__all__ = ["finished", "new_figure"]


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty `Figure` of the given size in inches, which notebooks can display.

    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self):
            """Returns the PNG that notebooks display, independent of the backend."""
            content = io.BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    figure = Picture(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # Independent of the configured backend.
    return figure


def finished(figure: "Figure", file: PathLike | None) -> "Figure":
    """Writes `figure` to `file` if it is not None, and returns it."""
    if file is not None:
        figure.savefig(file)
    return figure
