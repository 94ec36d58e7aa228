"""Plot the scores of the trials of a search by their order, and by the value of each setting."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.visualization._figure import BLUE, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRAY = "#6c757d"
_COLUMNS = 3

_NARROW = 4.0
"""Highest value of a logarithmic axis divided by the lowest, below which the axis has linear steps between labels."""


def plot_trials(
    out: Path, scores: Sequence[float], values: Mapping[str, Sequence[Any]], log: Collection[str] = ()
) -> None:
    """Plot the scores of trials by their order, and by the value of each setting.

    Args:
        out: the file to write. The suffix selects PNG, SVG or PDF.
        scores: mean IoU of each trial, in [0, 1], or NaN. At least one is not NaN. The first trial is drawn as the
            settings before the search.
        values: setting → its value in each trial: a number, a text, or None for a trial without the setting.
        log: the settings with a logarithmic axis.
    """
    rows = math.ceil((1 + len(values)) / _COLUMNS)
    figure = new_figure(3.6 * _COLUMNS, 2.8 * rows)
    axes = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).flatten()
    best = max(score for score in scores if not math.isnan(score))
    order = axes[0]
    order.plot(range(len(scores)), scores, "o", color=BLUE, markersize=5)
    reached = list(accumulate((-1.0 if math.isnan(score) else score for score in scores), max))
    start = next(index for index, score in enumerate(reached) if score >= 0)
    order.step(range(start, len(scores)), reached[start:], where="post", color=ORANGE, label="best so far")
    order.set_xlabel("trial")
    order.xaxis.get_major_locator().set_params(integer=True)
    order.legend(loc="lower right", frameon=False, fontsize="small")
    for panel, (name, column) in zip(axes[1:], values.items(), strict=False):
        points = [(value, score) for value, score in zip(column, scores, strict=True) if value is not None]
        is_text = any(isinstance(value, str) for value, _ in points)
        panel.scatter(
            [str(value) if is_text else value for value, _ in points],
            [score for _, score in points],
            c=[ORANGE if score == best else BLUE for _, score in points],
            s=24,
        )
        if scores and column[0] is not None and not math.isnan(scores[0]):
            first = str(column[0]) if is_text else column[0]
            panel.scatter([first], [scores[0]], s=90, facecolors="none", edgecolors=_GRAY)
        if name in log:
            _use_log_axis(panel)
        if is_text:
            panel.tick_params(axis="x", labelrotation=20)
        panel.set_xlabel(name)
    for panel in axes:
        panel.grid(visible=True, alpha=0.3)
    for panel in axes[1 + len(values) :]:
        panel.set_axis_off()
    for row in range(rows):
        axes[row * _COLUMNS].set_ylabel("validation mIoU")
    figure.suptitle("orange: the best trial; gray ring: the settings before the search", fontsize="small")
    save_figure(figure, out)


def _use_log_axis(panel: "Axes") -> None:
    """Use a logarithmic axis. In a narrow range, matplotlib would label each step, and the labels would overlap."""
    from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

    panel.set_xscale("log")
    low, high = panel.get_xlim()
    if high < _NARROW * low:
        panel.xaxis.set_major_locator(MaxNLocator(4))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
