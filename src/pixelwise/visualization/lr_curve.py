"""Plot the losses of a learning-rate range test."""

from collections.abc import Sequence
from pathlib import Path

from pixelwise.runtime.atomic import atomic_write

_COLOR, _PALE_COLOR, _MARK_COLOR = "#0072b2", "#9ecae1", "#d55e00"


def plot_lr_curve(
    out: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None
) -> None:
    """Plot the training loss by the learning rate.

    Args:
        out: the file to write. The suffix selects PNG, SVG or PDF.
        rates: learning rates, increasing.
        losses: the training loss at each rate. Values that are not finite are not drawn.
        smoothed: the smoothed losses at the first rates. There can be fewer than rates.
        suggestion: a learning rate to mark, or None.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(rates, losses, "o", markersize=3, color=_PALE_COLOR, label="loss of a step")
    axes.plot(rates[: len(smoothed)], smoothed, color=_COLOR, linewidth=2, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=_MARK_COLOR, linestyle="--", label=f"suggested lr: {suggestion:g}")
    axes.set_xscale("log")
    if smoothed:
        # The last losses grow without limit and would hide the rest.
        low, high = min(smoothed), max(smoothed[: max(1, len(smoothed) // 2)])
        margin = 0.15 * (high - low) or 0.1
        axes.set_ylim(low - margin, high + 3 * margin)
    axes.set_xlabel("learning rate of the decoder")
    axes.set_ylabel("training loss")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower left", frameon=False)
    with atomic_write(out) as path:
        figure.savefig(path, dpi=130, facecolor="white")
