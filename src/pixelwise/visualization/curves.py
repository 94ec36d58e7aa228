"""Plot the losses and metrics of a training by epoch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.palette import Color, default_palette
from pixelwise.visualization._figure import BLUE, ORANGE, TEXT_COLOR, new_figure, save_figure
from pixelwise.visualization.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_Row = Mapping[str, float | None]

_FAINT_COLOR = "#5c636a"
_CLASS_PREFIX = "iou_"
_MAX_LABEL_LENGTH = 18

_MAX_COLORED_CLASSES = 10
"""Maximum number of classes with colored curves. More colors cannot be distinguished, so the curves are then gray."""


def plot_history(
    rows: Sequence[_Row],
    out: Path,
    title: str | None = None,
    colors: Mapping[str, Color] | None = None,
) -> None:
    """Plot losses (left) and validation IoU (right) by epoch.

    The first epoch with the highest "val_miou" is marked. If there are more than ten classes, the curves of the classes
    are thin and gray.

    Args:
        rows: one row per epoch with "epoch" and any of "train_loss", "val_loss", "val_miou" in [0, 1] and
            "iou_<class>" in [0, 1]. Other keys are not drawn. A value that is missing, None, NaN or infinite leaves a
            gap.
        out: the file to write. The suffix selects PNG, SVG or PDF.
        title: heading of the figure. None draws no heading.
        colors: class name → RGB color in [0, 255]. The other classes have colors of the default palette by the order in
            which they appear in `rows`.

    Raises:
        ValueError: There are no rows, or a row has no epoch.

    >>> plot_history([{"epoch": 1, "train_loss": 0.9, "val_miou": 0.5, "iou_pet": 0.6}],
    ...              Path("history.png"))  # doctest: +SKIP
    """
    if not rows:
        raise ValueError("a history needs at least one row")
    if any(row.get("epoch") is None for row in rows):
        raise ValueError("every row of a history needs an epoch")
    figure = _figure(rows, title, colors or {})
    save_figure(figure, out)


def _figure(rows: Sequence[_Row], title: str | None, colors: Mapping[str, Color]) -> "Figure":
    figure = new_figure(10.5, 4.2)
    loss, iou = figure.subplots(1, 2)
    epochs = [float(row["epoch"] or 0) for row in rows]
    best = _best(rows)

    _style(loss, "Loss", "loss", epochs)
    _curve(loss, epochs, _series(rows, "train_loss"), "training", BLUE)
    _curve(loss, epochs, _series(rows, "val_loss"), "validation", ORANGE)
    _style(iou, "Validation IoU", "IoU", epochs)
    iou.set_ylim(0, 1)
    _curve(iou, epochs, _series(rows, "val_miou"), "mean", TEXT_COLOR, width=2.6)
    _class_curves(iou, rows, epochs, colors)
    if best is not None:
        value = _series(rows, "val_miou")[best]
        for axes in (loss, iou):
            axes.axvline(epochs[best], color=_FAINT_COLOR, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        iou.plot(
            [epochs[best]],
            [value],
            marker="*",
            markersize=15,
            color="#f0e442",
            markeredgecolor=TEXT_COLOR,
            linestyle="none",
            zorder=5,
        )
        note = f"best mean {value:.3f} at epoch {epochs[best]:g}"
        iou.set_title(note, fontsize=9.5, color=_FAINT_COLOR, loc="right")
    for axes in (loss, iou):
        _add_legend(axes)
    if title is not None:
        # Dollar signs in a name must not start a formula.
        figure.suptitle(plain(title), fontsize=13, fontweight="bold", color=TEXT_COLOR, parse_math=False)
    return figure


def _series(rows: Sequence[_Row], key: str) -> list[float]:
    """Return one value per row, NaN if it is missing or not finite."""
    values = (row.get(key) for row in rows)
    return [float(value) if value is not None and math.isfinite(value) else math.nan for value in values]


def _best(rows: Sequence[_Row]) -> int | None:
    """Return the index of the first row with the highest val_miou, or None if no row has a val_miou."""
    scored = [(-value, i) for i, value in enumerate(_series(rows, "val_miou")) if not math.isnan(value)]
    return min(scored)[1] if scored else None


def _style(axes: "Axes", title: str, label: str, epochs: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=11, color=TEXT_COLOR, loc="left")
    axes.set_xlabel("epoch", fontsize=10, color=TEXT_COLOR)
    axes.set_ylabel(label, fontsize=10, color=TEXT_COLOR)
    axes.tick_params(labelsize=9, colors=TEXT_COLOR)
    axes.grid(True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_FAINT_COLOR)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    first, last = min(epochs), max(epochs)
    margin = 0.04 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)


def _curve(
    axes: "Axes",
    epochs: Sequence[float],
    values: Sequence[float],
    label: str,
    color: str | tuple[float, ...],
    width: float = 1.8,
) -> None:
    """Draw one series. Draw nothing if all its values are NaN."""
    if all(math.isnan(value) for value in values):
        return
    # A single value between two gaps is visible only with a marker. In a long training, markers would hide the line.
    marker = "o" if len(epochs) <= 40 else "None"
    axes.plot(
        epochs,
        values,
        color=color,
        linewidth=width,
        marker=marker,
        markersize=width + 2,
        label=label,
        gid=label,
        zorder=width,
    )


def _class_curves(axes: "Axes", rows: Sequence[_Row], epochs: Sequence[float], colors: Mapping[str, Color]) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row if key.startswith(_CLASS_PREFIX)))
    if not keys:
        return
    if len(keys) > _MAX_COLORED_CLASSES:
        for i, key in enumerate(keys):
            label = f"each of {len(keys)} classes" if i == 0 else None
            axes.plot(epochs, _series(rows, key), color="#adb5bd", linewidth=0.8, alpha=0.7, label=label, gid=label)
        return
    for key, default in zip(keys, default_palette(len(keys)), strict=True):
        name = key.removeprefix(_CLASS_PREFIX)
        red, green, blue = colors.get(name, default)
        _curve(axes, epochs, _series(rows, key), name, (red / 255, green / 255, blue / 255))


def _add_legend(axes: "Axes") -> None:
    """Add a legend below the axes, or the text "no values yet" if they have no curves."""
    # The label of a line is also stored as its gid, because matplotlib omits labels that start with "_".
    handles = [line for line in axes.get_lines() if line.get_gid() is not None]
    if handles:
        # Labels are shortened, because the layout would shrink axes that are narrower than their legend.
        limit = _MAX_LABEL_LENGTH
        labels = [plain(str(line.get_gid())) for line in handles]
        short = [label if len(label) <= limit else label[: limit - 1] + "…" for label in labels]
        legend = axes.legend(
            handles,
            short,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=3 if max(map(len, short)) > 12 else 4,
            fontsize=9,
            frameon=False,
            labelcolor=TEXT_COLOR,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center", color=_FAINT_COLOR)
