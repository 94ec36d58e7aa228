"""Plot the losses of a learning-rate range test."""

from collections.abc import Sequence
from pathlib import Path

from pixelwise.visualization._figure import BLUE, ORANGE, new_figure, save_figure

_PALE_BLUE = "#9ecae1"


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
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    axes.plot(rates, losses, "o", markersize=3, color=_PALE_BLUE, label="loss of a step")
    axes.plot(rates[: len(smoothed)], smoothed, color=BLUE, linewidth=2, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=ORANGE, linestyle="--", label=f"suggested lr: {suggestion:g}")
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
    save_figure(figure, out)
