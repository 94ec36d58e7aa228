"""The course of a training run as an image."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.palette import Color, default_palette
from pixelwise.runtime.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Row = Mapping[str, float | None]


_INK = "#212529"


_FAINT = "#5c636a"


_TRAINING, _VALIDATION = "#0072b2", "#d55e00"


_CLASS_PREFIX = "iou_"


_LONGEST_LABEL = 18


_MAX_COLORED = 10  # beyond, a color and a legend entry a class tell nothing


def plot_history(
    rows: Sequence[Row],
    out: Path,
    title: str | None = None,
    colors: Mapping[str, Color] | None = None,
) -> None:
    """Draw losses (left) and validation IoU (right) by epoch into `out` (PNG, or SVG or PDF by its suffix).

    rows: one an epoch, with "epoch" and any of "train_loss", "val_loss", "val_miou" (0..1) and
    "iou_<class>" (0..1); other keys are not drawn. A value that is absent, None, NaN or infinite leaves a
    gap. The epoch with the highest val_miou, the first of equals, is marked. colors: RGB by class name;
    classes that it lacks take the default palette's, in the order of their first appearance. With more than
    ten classes their curves are thin and gray.

    Raises ValueError for no rows or a row without an epoch.

    >>> plot_history([{"epoch": 1, "train_loss": 0.9, "val_miou": 0.5, "iou_pet": 0.6}],
    ...              Path("history.png"))  # doctest: +SKIP
    """
    if not rows:
        raise ValueError("a history needs at least one row")
    if any(row.get("epoch") is None for row in rows):
        raise ValueError("every row of a history needs an epoch")
    figure = _figure(rows, title, colors or {})
    with atomic_write(out) as path:
        figure.savefig(path, dpi=130, facecolor="white")


def _figure(rows: Sequence[Row], title: str | None, colors: Mapping[str, Color]) -> "Figure":
    # The object interface: pyplot would keep every figure alive and pick a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    loss, iou = figure.subplots(1, 2)
    epochs = [float(row["epoch"] or 0) for row in rows]
    best = _best(rows)

    _style(loss, "Loss", "loss", epochs)
    _curve(loss, epochs, _series(rows, "train_loss"), "training", _TRAINING)
    _curve(loss, epochs, _series(rows, "val_loss"), "validation", _VALIDATION)
    _style(iou, "Validation IoU", "IoU", epochs)
    iou.set_ylim(0, 1)
    _curve(iou, epochs, _series(rows, "val_miou"), "mean", _INK, width=2.6)
    _class_curves(iou, rows, epochs, colors)
    if best is not None:
        value = _series(rows, "val_miou")[best]
        for axes in (loss, iou):
            axes.axvline(epochs[best], color=_FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        iou.plot(
            [epochs[best]],
            [value],
            marker="*",
            markersize=15,
            color="#f0e442",
            markeredgecolor=_INK,
            linestyle="none",
            zorder=5,
        )
        note = f"best mean {value:.3f} at epoch {epochs[best]:g}"
        iou.set_title(note, fontsize=9.5, color=_FAINT, loc="right")
    for axes in (loss, iou):
        _key(axes)
    if title is not None:
        figure.suptitle(title, fontsize=13, fontweight="bold", color=_INK)
    return figure


def _series(rows: Sequence[Row], key: str) -> list[float]:
    """Return one value a row, NaN where there is none that can be drawn."""
    values = (row.get(key) for row in rows)
    return [float(value) if value is not None and math.isfinite(value) else math.nan for value in values]


def _best(rows: Sequence[Row]) -> int | None:
    """Return the index of the row with the highest val_miou, or None if no row has one."""
    scored = [(-value, i) for i, value in enumerate(_series(rows, "val_miou")) if not math.isnan(value)]
    return min(scored)[1] if scored else None


def _style(axes: "Axes", title: str, label: str, epochs: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=11, color=_INK, loc="left")
    axes.set_xlabel("epoch", fontsize=10, color=_INK)
    axes.set_ylabel(label, fontsize=10, color=_INK)
    axes.tick_params(labelsize=9, colors=_INK)
    axes.grid(True, color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_FAINT)
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
    """Draw one series, unless it has no value at all."""
    if all(math.isnan(value) for value in values):
        return
    # Dots show values that have a gap on both sides; in a long run they would only blur the line.
    marker = "o" if len(epochs) <= 40 else "None"
    axes.plot(
        epochs,
        values,
        color=color,
        linewidth=width,
        marker=marker,
        markersize=width + 2,
        label=label,
        zorder=width,
    )


def _class_curves(axes: "Axes", rows: Sequence[Row], epochs: Sequence[float], colors: Mapping[str, Color]) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row if key.startswith(_CLASS_PREFIX)))
    if not keys:
        return
    if len(keys) > _MAX_COLORED:
        for i, key in enumerate(keys):
            label = f"each of {len(keys)} classes" if i == 0 else "_"
            axes.plot(epochs, _series(rows, key), color="#adb5bd", linewidth=0.8, alpha=0.7, label=label)
        return
    for key, default in zip(keys, default_palette(len(keys)), strict=True):
        name = key.removeprefix(_CLASS_PREFIX)
        red, green, blue = colors.get(name, default)
        _curve(axes, epochs, _series(rows, key), name, (red / 255, green / 255, blue / 255))


def _key(axes: "Axes") -> None:
    """Add a legend below the panel, or say that there is nothing to draw."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # A legend wider than its panel would make the layout shrink the panel.
        short = [label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…" for label in labels]
        axes.legend(
            handles,
            short,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=3 if max(map(len, short)) > 12 else 4,
            fontsize=9,
            frameon=False,
            labelcolor=_INK,
        )
    else:
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center", color=_FAINT)
