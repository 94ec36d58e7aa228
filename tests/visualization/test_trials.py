"""Tests of the plot of a search's trials."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pixelwise.visualization import trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@pytest.mark.parametrize("rates", [(0.003, 0.00238, 0.00257), (0.003, 0.0003, 0.015), (0.003, 0.003, 0.003)])
def test_labels_of_a_logarithmic_axis_do_not_overlap(
    rates: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(trials, "save_figure", lambda figure, out: figures.append(figure))
    trials.plot_trials(tmp_path / "trials.png", (0.4, 0.3, 0.35), {"lr": rates}, {"lr"})
    figure = figures[0]
    figure.canvas.draw()
    panel = figure.axes[1]
    labels = [*panel.get_xticklabels(), *panel.get_xticklabels(minor=True)]
    low, high = panel.get_xlim()
    boxes = sorted(
        (box.x0, box.x1)
        for label in labels
        if label.get_text() and low <= label.get_position()[0] <= high
        for box in [label.get_window_extent()]
    )
    assert panel.get_xscale() == "log" and boxes
    assert all(left[1] < right[0] for left, right in pairwise(boxes))
