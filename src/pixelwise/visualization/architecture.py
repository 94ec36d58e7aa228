"""A model's architecture as a diagram."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.runtime.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


@dataclass(frozen=True)
class ModelStage:
    """One box of the diagram: something that the image passes through.

    name: as in the model, such as "blocks.5.0.bn1"; kind: "input", "normalize", "encoder", "decoder" or
    "logits"; shape: of the step's output, (channels, height, width); skip_from: name of the encoder step
    whose output is concatenated or added here; detail: a few words on what the step does; frozen: whether
    all its weights stay as they are in training; parameters: how many it has; kept: how many of these stay as
    they are, where not all do.

    >>> ModelStage("blocks.1", "encoder", (24, 32, 32), frozen=True, parameters=13_968).shape
    (24, 32, 32)
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    skip_from: str | None = None
    detail: str = ""
    frozen: bool = False
    parameters: int = 0
    kept: int = 0


# Fill and edge of each kind's boxes. The kinds of the left column come before those of the right.
_FILLS = {
    "input": ("#f1f3f5", "#868e96"),
    "normalize": ("#f1f3f5", "#868e96"),
    "encoder": ("#d7ebf8", "#0072b2"),
    "decoder": ("#fdebc8", "#c98700"),
    "logits": ("#d3efe5", "#009e73"),
}


_LEFT = ("input", "normalize", "encoder")


_KINDS = tuple(_FILLS)


_FROZEN_FILL, _FROZEN_EDGE = "#eef3f7", "#7f9db3"


_INK, _FAINT, _SKIP = "#212529", "#5c636a", "#a83279"


# Inches: text has a size in inches too, so that boxes made for it stay right whatever the number of levels.
_BOX_WIDTH, _COLUMN_GAP, _ROW_GAP, _MARGIN = 2.9, 1.5, 0.34, 0.4


_LINE_HEIGHT, _BOX_PADDING = 0.185, 0.2


_TITLE_HEIGHT, _CAPTION_HEIGHT = 0.4, 0.62


_DPI = 150  # text is measured and drawn at the same


def draw_architecture(steps: Sequence[ModelStage], out: Path, title: str) -> None:
    """Draw `steps` as a U into `out` (PNG, or SVG or PDF by its suffix).

    Input and encoder go down at the left, decoder and logits up at the right; dashed arrows are skip
    connections, level where they can be. Each box holds name, "height×width×channels", detail and
    parameters; frozen steps are pale and say so. The caption gives total and trained parameters.

    steps: in the order of computation, so that all of "input", "normalize", "encoder" come before "decoder",
    "logits". Raises ValueError for none, another order, an unknown kind, two encoder steps of one name, or a
    skip_from that names no encoder step.

    >>> draw_architecture([ModelStage("image", "input", (3, 64, 64)),
    ...                    Step("stem", "encoder", (16, 32, 32), parameters=448),
    ...                    Step("scores", "logits", (2, 64, 64), parameters=34)],
    ...                   Path("model.png"), "A very small U-Net")  # doctest: +SKIP
    """
    _check(steps)
    figure = _figure(steps, title)
    with atomic_write(out) as path:
        figure.savefig(path, dpi=_DPI, facecolor="white")


def _check(steps: Sequence[ModelStage]) -> None:
    if not steps:
        raise ValueError("an architecture needs at least one step")
    encoders: set[str] = set()
    seen_right = False
    for step in steps:
        if step.kind not in _KINDS:
            raise ValueError(f"{step.name!r}: kind is one of {', '.join(_KINDS)}, not {step.kind!r}")
        if step.kind in _LEFT and seen_right:
            raise ValueError(f"{step.name!r}: {step.kind} steps come before decoder and logits")
        seen_right = seen_right or step.kind not in _LEFT
        if step.kind == "encoder" and step.name in encoders:
            raise ValueError(f"two encoder steps are named {step.name!r}")
        if step.skip_from is not None and (step.kind in _LEFT or step.skip_from not in encoders):
            raise ValueError(f"{step.name!r}: skip_from {step.skip_from!r} is no encoder step before a decoder")
        if step.kind == "encoder":
            encoders.add(step.name)


def _place(steps: Sequence[ModelStage]) -> list[tuple[int, int]]:
    """Return column (0 left, 1 right) and row (0 at the top) of each step.

    A right step stands level with the encoder step that it takes its skip from, or else with a left step of
    its height and width, unless that is not above the right step before it.
    """
    left = [step for step in steps if step.kind in _LEFT]
    rows = list(range(len(left)))
    encoder_row = {step.name: row for row, step in enumerate(left) if step.kind == "encoder"}
    free = len(left) - 1  # the lowest row still free at the right, level with the last encoder step
    for step in steps[len(left) :]:
        level = [row for row, other in enumerate(left) if other.shape[1:] == step.shape[1:] and row <= free]
        if step.skip_from is not None:
            row = min(encoder_row[step.skip_from], free)
        else:
            row = max(level, default=min(free, len(left) - 2))
        rows.append(row)
        free = row - 1
    highest = min(rows)
    return [(int(i >= len(left)), row - highest) for i, row in enumerate(rows)]


def _figure(steps: Sequence[ModelStage], title: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = _place(steps)
    texts = [_lines(step) for step in steps]
    box_height = _LINE_HEIGHT * max(len(lines) for lines in texts) + _BOX_PADDING
    pitch = box_height + _ROW_GAP
    width = 2 * _MARGIN + 2 * _BOX_WIDTH + _COLUMN_GAP
    body = (max(row for _, row in places) + 1) * pitch - _ROW_GAP
    height = _MARGIN + _TITLE_HEIGHT + body + _CAPTION_HEIGHT + _MARGIN / 2

    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # y grows downward, as rows do
    corners = [
        (_MARGIN + column * (_BOX_WIDTH + _COLUMN_GAP), _MARGIN + _TITLE_HEIGHT + row * pitch) for column, row in places
    ]
    heading = axes.text(width / 2, _MARGIN, title, ha="center", va="center", color=_INK)
    _fit(heading, 14, width - 2 * _MARGIN, bold=True)
    _arrows(axes, steps, corners, box_height)
    for step, corner, lines in zip(steps, corners, texts, strict=True):
        _box(axes, step, corner, box_height, lines)
    caption = axes.text(width / 2, height - _CAPTION_HEIGHT / 2 - _MARGIN / 4, _caption(steps), ha="center")
    caption.set(va="center", color=_FAINT, linespacing=1.5)
    _fit(caption, 10, width - 2 * _MARGIN)
    return figure


def _lines(step: ModelStage) -> list[str]:
    """Return what the box of `step` says, from the name down."""
    channels, height, width = step.shape
    last = [f"{step.parameters:,} parameters"] if step.parameters else []
    if step.frozen:
        last.append("❄ frozen")
    lines = [step.name, f"{height}×{width}×{channels}", step.detail, " · ".join(last)]
    return [line for line in lines if line]


def _caption(steps: Sequence[ModelStage]) -> str:
    total = sum(step.parameters for step in steps)
    trained = sum(step.parameters - step.kept for step in steps if not step.frozen)
    share = "all" if trained == total else f"{trained:,}"
    counts = f"{total:,} parameters in total, {share} of them trained"
    key = "boxes: height×width×channels"
    if any(step.skip_from for step in steps):
        key += " · dashed arrows: skip connections"
    return f"{counts}\n{key}"


def _box(axes: "Axes", step: ModelStage, corner: tuple[float, float], height: float, lines: Sequence[str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, edge = _FILLS[step.kind]
    if step.frozen:
        fill, edge = _FROZEN_FILL, _FROZEN_EDGE
    shape = FancyBboxPatch(
        corner,
        _BOX_WIDTH,
        height,
        boxstyle="round,pad=0,rounding_size=0.09",
        facecolor=fill,
        edgecolor=edge,
        linewidth=1.5,
        zorder=3,
    )
    axes.add_patch(shape)
    x = corner[0] + _BOX_WIDTH / 2
    y = corner[1] + height / 2 - _LINE_HEIGHT * (len(lines) - 1) / 2
    for i, line in enumerate(lines):
        text = axes.text(x, y + i * _LINE_HEIGHT, line, ha="center", va="center_baseline", zorder=4)
        text.set_color(_INK if i < 2 else _FAINT)
        _fit(text, (10.5, 10, 8.5, 8.5)[i], _BOX_WIDTH - 0.2, bold=i == 0)


def _arrows(axes: "Axes", steps: Sequence[ModelStage], corners: Sequence[tuple[float, float]], height: float) -> None:
    """Draw the arrow from each step to the next, and the skip connections."""
    corner_of = {step.name: corner for step, corner in zip(steps, corners, strict=True) if step.kind == "encoder"}
    for (x0, y0), (x1, y1) in pairwise(corners):
        middle = x1 + _BOX_WIDTH / 2
        if x0 == x1 and y1 > y0:
            _arrow(axes, (middle, y0 + height), (middle, y1))
        elif x0 == x1:
            _arrow(axes, (middle, y0), (middle, y1 + height))
        elif y0 == y1:
            _arrow(axes, (x0 + _BOX_WIDTH, y0 + height / 2), (x1, y1 + height / 2))
        else:  # the foot of the U: to the right, then up
            start = (x0 + _BOX_WIDTH, y0 + height / 2)
            _arrow(axes, start, (middle, y1 + height), connectionstyle="angle,angleA=0,angleB=90,rad=6")
    for step, (x, y) in zip(steps, corners, strict=True):
        if step.skip_from is not None:
            x0, y0 = corner_of[step.skip_from]
            start, end = (x0 + _BOX_WIDTH, y0 + height / 2), (x, y + height / 2)
            _arrow(axes, start, end, color=_SKIP, linestyle=(0, (4, 2.5)))


def _arrow(
    axes: "Axes",
    start: tuple[float, float],
    end: tuple[float, float],
    color: str = _INK,
    linestyle: str | tuple[float, tuple[float, float]] = "solid",
    connectionstyle: str = "arc3",
) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=13,
            linewidth=1.5,
            color=color,
            linestyle=linestyle,
            connectionstyle=connectionstyle,
            shrinkA=1,
            shrinkB=1,
            zorder=2,
        )
    )


def _fit(text: "Text", size: float, width: float, bold: bool = False) -> None:
    """Set `text` at `size` points, or smaller to fit into `width` inches; below 6 points, cut its middle."""
    text.set_fontweight("bold" if bold else "normal")
    text.set_fontsize(size)
    figure = text.get_figure()
    assert figure is not None
    wide = text.get_window_extent().width / figure.dpi
    if wide > width:
        text.set_fontsize(max(6.0, size * width / wide * 0.98))
    whole, kept = text.get_text(), len(text.get_text())
    while text.get_window_extent().width / figure.dpi > width and kept > 2:
        kept -= 1
        text.set_text(whole[: (kept + 1) // 2] + "…" + whole[len(whole) - kept // 2 :])
