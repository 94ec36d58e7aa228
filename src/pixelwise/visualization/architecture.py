"""Draw the architecture of a model as a diagram."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.runtime.atomic import atomic_write
from pixelwise.visualization.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


@dataclass(frozen=True)
class ModelStage:
    """A stage of a model: one box of the diagram.

    Attributes:
        name: the name. For an encoder stage it is the name of the layer, such as "blocks.5.0.bn1".
        kind: "input", "normalize", "encoder", "decoder" or "logits".
        shape: (channels, height, width) of the stage's output.
        skip_from: name of the encoder stage at the start of a skip connection to this stage, or None.
        detail: a short description.
        parameters: number of parameters.
        frozen_parameters: number of parameters that are not trained.

    >>> ModelStage("blocks.1", "encoder", (24, 32, 32), parameters=13_968, frozen_parameters=13_968).frozen
    True
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    skip_from: str | None = None
    detail: str = ""
    parameters: int = 0
    frozen_parameters: int = 0

    @property
    def frozen(self) -> bool:
        """True if the stage has parameters and none of them is trained."""
        return 0 < self.parameters == self.frozen_parameters


_COLORS = {
    "input": ("#f1f3f5", "#868e96"),
    "normalize": ("#f1f3f5", "#868e96"),
    "encoder": ("#d7ebf8", "#0072b2"),
    "decoder": ("#fdebc8", "#c98700"),
    "logits": ("#d3efe5", "#009e73"),
}
"""Fill and edge color of each kind of stage."""

_LEFT_COLUMN = ("input", "normalize", "encoder")
_FROZEN_COLORS = ("#eef3f7", "#7f9db3")
_TEXT_COLOR, _FAINT_COLOR, _SKIP_COLOR = "#212529", "#5c636a", "#a83279"

# All lengths are in inches. Font sizes are physical sizes too, so text fits its box for any number of stages.
_BOX_WIDTH, _COLUMN_GAP, _ROW_GAP, _MARGIN = 2.9, 1.5, 0.34, 0.4
_LINE_HEIGHT, _BOX_PADDING = 0.185, 0.2
_TITLE_HEIGHT, _CAPTION_HEIGHT = 0.4, 0.62
_DPI = 150


def draw_architecture(stages: Sequence[ModelStage], out: Path, title: str) -> None:
    """Draw the stages of a model as a U-shaped diagram.

    Input and encoder are in the left column, from top to bottom. Decoder and logits are in the right column, from
    bottom to top. Dashed arrows are skip connections. Each box contains the stage's name, height×width×channels, detail
    and number of parameters. Frozen stages are pale and have a snowflake. The caption contains the total number of
    parameters and the number of trained ones.

    Args:
        stages: stages in the order of computation. Stages of kind "input", "normalize" and "encoder" must come before
            those of kind "decoder" and "logits".
        out: the output file. Its suffix sets the format: PNG, SVG or PDF.
        title: heading of the diagram.

    Raises:
        ValueError: There are no stages, their order is wrong, a kind is unknown, two encoder stages have the same name,
            or `skip_from` is not the name of an encoder stage.

    >>> draw_architecture([ModelStage("image", "input", (3, 64, 64)),
    ...                    ModelStage("stem", "encoder", (16, 32, 32), parameters=448),
    ...                    ModelStage("logits", "logits", (2, 64, 64), parameters=34)],
    ...                   Path("model.png"), "A very small U-Net")  # doctest: +SKIP
    """
    _check(stages)
    figure = _figure(stages, title)
    with atomic_write(out) as path:
        figure.savefig(path, dpi=_DPI, facecolor="white")


def _check(stages: Sequence[ModelStage]) -> None:
    if not stages:
        raise ValueError("an architecture needs at least one stage")
    encoder_names: set[str] = set()
    in_right_column = False
    for stage in stages:
        if stage.kind not in _COLORS:
            raise ValueError(f"{stage.name!r}: `kind` must be one of {', '.join(_COLORS)}, not {stage.kind!r}")
        if stage.kind in _LEFT_COLUMN and in_right_column:
            raise ValueError(f"{stage.name!r}: {stage.kind} stages must come before decoder and logits")
        in_right_column = in_right_column or stage.kind not in _LEFT_COLUMN
        if stage.kind == "encoder" and stage.name in encoder_names:
            raise ValueError(f"two encoder stages have the name {stage.name!r}")
        if stage.skip_from is not None and (not in_right_column or stage.skip_from not in encoder_names):
            raise ValueError(
                f"{stage.name!r}: `skip_from` {stage.skip_from!r} does not lead from an encoder to a decoder stage"
            )
        if stage.kind == "encoder":
            encoder_names.add(stage.name)


def _positions(stages: Sequence[ModelStage]) -> list[tuple[int, int]]:
    """Return the column (0 left, 1 right) and the row (0 at the top) of each stage.

    A stage on the right is in the row of the encoder stage at the start of its skip connection. If it has none, it is
    in the row of a left stage with the same height and width. It is always above the previous stage on the right.
    """
    left = [stage for stage in stages if stage.kind in _LEFT_COLUMN]
    rows = list(range(len(left)))
    encoder_rows = {stage.name: row for row, stage in enumerate(left) if stage.kind == "encoder"}
    lowest_free = len(left) - 1
    for stage in stages[len(left) :]:
        same_size = [row for row, other in enumerate(left) if other.shape[1:] == stage.shape[1:] and row <= lowest_free]
        if stage.skip_from is not None:
            row = min(encoder_rows[stage.skip_from], lowest_free)
        else:
            row = max(same_size, default=min(lowest_free, len(left) - 2))
        rows.append(row)
        lowest_free = row - 1
    top = min(rows)
    return [(int(index >= len(left)), row - top) for index, row in enumerate(rows)]


def _figure(stages: Sequence[ModelStage], title: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    positions = _positions(stages)
    texts = [_lines(stage) for stage in stages]
    box_height = _LINE_HEIGHT * max(len(lines) for lines in texts) + _BOX_PADDING
    pitch = box_height + _ROW_GAP
    width = 2 * _MARGIN + 2 * _BOX_WIDTH + _COLUMN_GAP
    body = (max(row for _, row in positions) + 1) * pitch - _ROW_GAP
    height = _MARGIN + _TITLE_HEIGHT + body + _CAPTION_HEIGHT + _MARGIN / 2

    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # y increases downward, like the row number
    corners = [
        (_MARGIN + column * (_BOX_WIDTH + _COLUMN_GAP), _MARGIN + _TITLE_HEIGHT + row * pitch)
        for column, row in positions
    ]
    heading = axes.text(width / 2, _MARGIN, plain(title), ha="center", va="center", color=_TEXT_COLOR)
    heading.set_parse_math(False)
    _fit(heading, 14, width - 2 * _MARGIN, bold=True)
    _draw_arrows(axes, stages, corners, box_height)
    for stage, corner, lines in zip(stages, corners, texts, strict=True):
        _draw_box(axes, stage, corner, box_height, lines)
    caption = axes.text(width / 2, height - _CAPTION_HEIGHT / 2 - _MARGIN / 4, _caption(stages), ha="center")
    caption.set(va="center", color=_FAINT_COLOR, linespacing=1.5)
    _fit(caption, 10, width - 2 * _MARGIN)
    return figure


def _lines(stage: ModelStage) -> list[str]:
    """Return the lines of a stage's box from top to bottom."""
    channels, height, width = stage.shape
    counts = [f"{stage.parameters:,} parameters"] if stage.parameters else []
    if stage.frozen:
        counts.append("❄ frozen")
    lines = [stage.name, f"{height}×{width}×{channels}", stage.detail, " · ".join(counts)]
    return [line for line in lines if line]


def _caption(stages: Sequence[ModelStage]) -> str:
    total = sum(stage.parameters for stage in stages)
    trained = total - sum(stage.frozen_parameters for stage in stages)
    counts = f"{total:,} parameters in total, {'all' if trained == total else f'{trained:,}'} of them trained"
    key = "boxes: height×width×channels"
    if any(stage.skip_from for stage in stages):
        key += " · dashed arrows: skip connections"
    return f"{counts}\n{key}"


def _draw_box(
    axes: "Axes", stage: ModelStage, corner: tuple[float, float], height: float, lines: Sequence[str]
) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, edge = _FROZEN_COLORS if stage.frozen else _COLORS[stage.kind]
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
        text.set_parse_math(False)
        text.set_color(_TEXT_COLOR if i < 2 else _FAINT_COLOR)
        _fit(text, (10.5, 10, 8.5, 8.5)[i], _BOX_WIDTH - 0.2, bold=i == 0)


def _draw_arrows(
    axes: "Axes", stages: Sequence[ModelStage], corners: Sequence[tuple[float, float]], height: float
) -> None:
    """Draw the arrow from each stage to the next, and the skip connections."""
    encoder_corners = {
        stage.name: corner for stage, corner in zip(stages, corners, strict=True) if stage.kind == "encoder"
    }
    for (x0, y0), (x1, y1) in pairwise(corners):
        middle = x1 + _BOX_WIDTH / 2
        if x0 == x1 and y1 > y0:
            _arrow(axes, (middle, y0 + height), (middle, y1))
        elif x0 == x1:
            _arrow(axes, (middle, y0), (middle, y1 + height))
        elif y0 == y1:
            _arrow(axes, (x0 + _BOX_WIDTH, y0 + height / 2), (x1, y1 + height / 2))
        else:  # an arrow from the last encoder stage to the right and then up
            start = (x0 + _BOX_WIDTH, y0 + height / 2)
            _arrow(axes, start, (middle, y1 + height), connectionstyle="angle,angleA=0,angleB=90,rad=6")
    for stage, (x, y) in zip(stages, corners, strict=True):
        if stage.skip_from is not None:
            x0, y0 = encoder_corners[stage.skip_from]
            start, end = (x0 + _BOX_WIDTH, y0 + height / 2), (x, y + height / 2)
            _arrow(axes, start, end, color=_SKIP_COLOR, linestyle=(0, (4, 2.5)))


def _arrow(
    axes: "Axes",
    start: tuple[float, float],
    end: tuple[float, float],
    color: str = _TEXT_COLOR,
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
    """Set the font size of a text to `size` points, or less (at least 6) so that the text fits into `width` inches.

    If the text is still too wide, replace its middle with "…".
    """
    text.set_fontweight("bold" if bold else "normal")
    text.set_fontsize(size)
    figure = text.get_figure()
    assert figure is not None
    text_width = text.get_window_extent().width / figure.dpi
    if text_width > width:
        text.set_fontsize(max(6.0, size * width / text_width * 0.98))
    full_text, kept = text.get_text(), len(text.get_text())
    while text.get_window_extent().width / figure.dpi > width and kept > 2:
        kept -= 1
        text.set_text(full_text[: (kept + 1) // 2] + "…" + full_text[len(full_text) - kept // 2 :])
