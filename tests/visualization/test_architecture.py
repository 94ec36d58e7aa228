"""Tests of architecture diagrams: positions of boxes, texts and colors."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from pixelwise.visualization import ModelStage, architecture, draw_architecture
from tests.visualization.helpers import count_pixels


def make_stages(levels: int) -> list[ModelStage]:
    size = 2**levels
    encoder = [
        ModelStage(
            f"blocks.{i}.0.conv_pwl",
            "encoder",
            (8 * i, size >> i, size >> i),
            parameters=1000 * i,
            frozen_parameters=1000 * i if i < 3 else 0,
        )
        for i in range(1, levels + 1)
    ]
    decoder = [
        ModelStage(f"decoder.{i}", "decoder", (8 * i, size >> i, size >> i), f"blocks.{i}.0.conv_pwl", parameters=7)
        for i in range(levels - 1, 0, -1)
    ]
    first = [ModelStage("image", "input", (3, size, size)), ModelStage("normalize", "normalize", (3, size, size))]
    return [*first, *encoder, *decoder, ModelStage("logits", "logits", (2, size, size), parameters=3)]


@pytest.mark.parametrize("levels", [3, 4, 5, 6])
def test_diagram_has_the_shape_of_a_u(levels: int) -> None:
    stages = make_stages(levels)
    positions = dict(zip([stage.name for stage in stages], architecture._positions(stages), strict=True))
    assert [positions[stage.name] for stage in stages[: levels + 2]] == [(0, row) for row in range(levels + 2)]
    for stage in stages:
        if stage.skip_from is not None:
            assert positions[stage.name] == (1, positions[stage.skip_from][1]), "skip arrows are horizontal"
    assert positions["logits"] == (1, positions["normalize"][1])


def test_boxes_never_share_a_position() -> None:
    stages = make_stages(3)
    crowded = [
        *stages[:-1],
        *[ModelStage(f"more {i}", "decoder", (4, 8, 8), "blocks.3.0.conv_pwl") for i in range(6)],
        stages[-1],
    ]
    positions = architecture._positions(crowded)
    assert len(set(positions)) == len(crowded)
    assert min(row for _, row in positions) == 0
    right = [row for column, row in positions if column == 1]
    assert right == sorted(right, reverse=True)


def test_diagram_of_decoder_without_skip_connections(tmp_path: Path) -> None:
    encoder = [ModelStage(f"layer{i}", "encoder", (8, 64 >> i, 64 >> i), parameters=9) for i in range(1, 5)]
    decoder = [ModelStage("decoder", "decoder", (16, 24, 24), parameters=5)]
    stages = [*encoder, *decoder, ModelStage("logits", "logits", (2, 64, 64))]
    positions = architecture._positions(stages)
    assert len(set(positions)) == len(stages)
    assert [column for column, _ in positions] == [0, 0, 0, 0, 1, 1]
    assert positions[-1][1] < positions[-2][1], "computed from the bottom to the top"
    draw_architecture(stages, tmp_path / "model.png", "A head without skip connections")
    assert count_pixels(tmp_path / "model.png", (168, 50, 121)) == 0, "no skip arrow"


def test_frozen_stages_have_only_frozen_parameters() -> None:
    assert ModelStage("a", "encoder", (1, 2, 2), parameters=5, frozen_parameters=5).frozen
    assert not ModelStage("a", "encoder", (1, 2, 2), parameters=5, frozen_parameters=4).frozen
    assert not ModelStage("image", "input", (1, 2, 2)).frozen


def test_diagram_lists_names_shapes_and_parameters() -> None:
    stages = [*make_stages(4), ModelStage("last", "logits", (5, 60, 30), detail="scores", parameters=1_234_567)]
    texts = [text.get_text() for text in architecture._figure(stages, "A title").findobj(Text)]
    for expected in ("A title", "blocks.4.0.conv_pwl", "1×1×32", "4,000 parameters", "60×30×5", "scores"):
        assert expected in texts
    assert "2,000 parameters · ❄ frozen" in texts
    total = 1000 + 2000 + 3000 + 4000 + 3 * 7 + 3 + 1_234_567
    (caption,) = [text for text in texts if "in total" in text]
    assert caption.startswith(f"{total:,} parameters in total, {total - 3000:,} of them trained")


def test_text_fits_its_box() -> None:
    stages = [
        ModelStage("image", "input", (3, 64, 64)),
        ModelStage(
            "stages.3.blocks.26.mlp.fc2_with_a_name_longer_than_any" * 2,
            "encoder",
            (3, 64, 64),
            parameters=10**12,
        ),
        ModelStage("logits", "logits", (2, 64, 64), detail="a detail that goes on and on " * 5),
    ]
    figure = architecture._figure(stages, "A title much longer than the diagram is wide " * 8)
    (axes,) = figure.axes
    for patch in axes.patches[2:]:
        box = patch.get_window_extent()
        inside = [text for text in axes.texts if box.y0 < text.get_window_extent().y0 < box.y1]
        same_column = [text for text in inside if box.x0 < np.mean(text.get_window_extent().intervalx) < box.x1]
        assert same_column
        for text in same_column:
            extent = text.get_window_extent()
            assert box.x0 < extent.x0 and extent.x1 < box.x1 and extent.y1 < box.y1
    title = axes.texts[0].get_window_extent()
    assert title.x0 > 0 and title.x1 < figure.bbox.width


def test_diagram_draws_each_kind_in_its_color(tmp_path: Path) -> None:
    draw_architecture(make_stages(4), tmp_path / "model.png", "A model")
    fills = ("#f1f3f5", "#d7ebf8", "#fdebc8", "#d3efe5", "#eef3f7", "#a83279")
    for fill in fills:
        red, green, blue = bytes.fromhex(fill[1:])
        assert count_pixels(tmp_path / "model.png", (red, green, blue)) > 500
    assert [path.name for path in tmp_path.iterdir()] == ["model.png"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one stage"),
        ([ModelStage("a", "pooling", (1, 2, 2))], "must be one of input, normalize"),
        ([ModelStage("a", "decoder", (1, 2, 2)), ModelStage("b", "encoder", (1, 2, 2))], "must come before"),
        (
            [ModelStage("a", "encoder", (1, 2, 2)), ModelStage("a", "encoder", (1, 2, 2))],
            "two encoder stages have the name 'a'",
        ),
        (
            [ModelStage("a", "encoder", (1, 2, 2)), ModelStage("b", "decoder", (1, 2, 2), "c")],
            "'b': `skip_from` 'c' does not lead from an encoder",
        ),
        (
            [ModelStage("a", "encoder", (1, 2, 2)), ModelStage("b", "encoder", (1, 2, 2), "a")],
            "`skip_from` 'a' does not lead from an encoder",
        ),
    ],
)
def test_draw_architecture_rejects_invalid_stages(stages: list[ModelStage], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw_architecture(stages, tmp_path / "model.png", "A model")
    assert list(tmp_path.iterdir()) == []
