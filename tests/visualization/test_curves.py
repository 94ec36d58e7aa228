"""Tests of training curves: the plotted values, colors and texts."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.palette import default_palette
from pixelwise.visualization import curves, plot_history
from tests.visualization.helpers import count_pixels


def make_rows(epochs: int) -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "val_loss": 1.2 / epoch,
            "val_accuracy": 0.9,
            "val_miou": 0.8 - 0.1 * abs(epoch - 4),
            "iou_pet": 0.9 - 0.1 * abs(epoch - 4),
            "iou_border": None if epoch == 2 else 0.3,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_plot_draws_each_series_in_its_color(tmp_path: Path) -> None:
    plot_history(make_rows(6), tmp_path / "history.png", "a run", {"border": (12, 134, 56)})
    pet = default_palette(1)[0]
    for color in ((0, 114, 178), (213, 94, 0), pet, (12, 134, 56), (33, 37, 41)):
        assert count_pixels(tmp_path / "history.png", color) > 100
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]


def test_plot_draws_values_and_marks_best_epoch() -> None:
    loss, iou = curves._figure(make_rows(6), None, {}).axes
    lines = {line.get_label(): np.array(line.get_data(), float) for line in (*loss.lines, *iou.lines)}
    np.testing.assert_allclose(lines["training"][1], [1 / epoch for epoch in range(1, 7)])
    np.testing.assert_allclose(lines["mean"][0], np.arange(1, 7))
    assert np.isnan(lines["border"][1]).tolist() == [False, True, False, False, False, False]
    (star,) = [np.array(line.get_data(), float) for line in iou.lines if line.get_marker() == "*"]
    assert star[:, 0].tolist() == [4, pytest.approx(0.8)]
    assert iou.get_title(loc="right") == "best mean 0.800 at epoch 4"


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "train_loss": 0.5}],
        [{"epoch": 1, "train_loss": math.inf, "val_loss": math.nan, "val_miou": math.nan, "iou_a": math.nan}],
        [{"epoch": 3}],
        [{"epoch": 1, "val_miou": None}, {"epoch": 2, "val_miou": 0.5, "iou_a": 0.5}],
    ],
)
def test_plot_with_few_values(rows: list[dict[str, float | None]], tmp_path: Path) -> None:
    plot_history(rows, tmp_path / "history.png")
    with Image.open(tmp_path / "history.png") as image:
        assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 24) or ()) > 10


def test_best_epoch_is_the_first_of_equals_and_never_nan() -> None:
    values = [math.nan, 0.5, 0.7, 0.7, None]
    assert curves._best([{"epoch": i, "val_miou": value} for i, value in enumerate(values)]) == 2
    assert curves._best([{"epoch": 1, "val_miou": math.nan}]) is None


def test_many_classes_share_one_legend_entry() -> None:
    row = {"epoch": 1, "val_miou": 0.5, **{f"iou_{i}": i / 40 for i in range(40)}}
    _, iou = curves._figure([row, {**row, "epoch": 2}], None, {}).axes
    legend = iou.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["mean", "each of 40 classes"]
    assert len(iou.lines) == 40 + 3  # and the mean, the best epoch's line and its star


def test_plot_rejects_no_rows_and_rows_without_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        plot_history([], tmp_path / "history.png")
    with pytest.raises(ValueError, match="needs an epoch"):
        plot_history([{"epoch": 1}, {"train_loss": 1.0}], tmp_path / "history.png")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_class_names_are_drawn_as_they_are(suffix: str, tmp_path: Path) -> None:
    """They are no formulas, no private labels, and no lines of their own."""
    names = ["$x_$", "$\\frac{", "_hidden", "a\nb", "\u202eabc", "[/red]", "\\[/x]", "<b>"]
    row: dict[str, float | None] = {"epoch": 1, "val_miou": 0.5, **{f"iou_{name}": 0.5 for name in names}}
    plot_history([row, {**row, "epoch": 2}], tmp_path / f"history.{suffix}", title="".join(names))
    assert (tmp_path / f"history.{suffix}").stat().st_size > 1000


def test_the_legend_has_every_class_name() -> None:
    names = ["$x_$", "_hidden", "a\nb", "\u202eabc"]
    row: dict[str, float | None] = {"epoch": 1, "val_miou": 0.5, **{f"iou_{name}": 0.5 for name in names}}
    _, iou = curves._figure([row], None, {"_hidden": (1, 2, 3)}).axes
    legend = iou.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["mean", "$x_$", "_hidden", "a\ufffdb", "\ufffdabc"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
