"""Make and save the figures of plots, with their colors."""

from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.runtime.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072b2", "#d55e00"
"""Colors of two series, which people with color blindness can distinguish (Okabe and Ito 2008)."""

TEXT_COLOR = "#212529"


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure.

    pyplot is not used, because it keeps every figure alive and selects a window system.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", out: Path) -> None:
    """Write a figure.

    Args:
        figure: the figure.
        out: the file to write. The suffix selects PNG, SVG or PDF.
    """
    with atomic_write(out) as path:
        figure.savefig(path, dpi=130, facecolor="white")
