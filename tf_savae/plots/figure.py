"""Create a matplotlib figure without a display."""

import io
from typing import TYPE_CHECKING

from tf_savae.core.typing import PathLike

if TYPE_CHECKING:  # Drawing is rare: matplotlib is imported where it is done.
    from matplotlib.figure import Figure

__all__ = ["finished", "new_figure"]


def new_figure(width: float, height: float) -> "Figure":
    """An empty `Figure` of so many inches, to be saved with `savefig`; notebooks show it.

    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self):
            """What a notebook shows, whatever backend is set."""
            content = io.BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    figure = Picture(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)  # Whatever backend is set.
    return figure


def finished(figure: "Figure", file: PathLike | None) -> "Figure":
    """`figure`, which is also written to `file` where one is given."""
    if file is not None:
        figure.savefig(file)
    return figure
