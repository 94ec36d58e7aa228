"""The rules for the augmentation: flips, turns and mosaics follow from the symmetry of the images."""

from dataclasses import replace
from typing import Any

import pytest

from pixelwise.data.analysis.symmetry import ImageSymmetry
from pixelwise.planning.rules import make_plan
from tests.planning.helpers import make_report

FROM_ABOVE = ImageSymmetry(0.01, 0.01, 0.01, 0.03, 0.03, "cell", 150, 1.0)
STREET = ImageSymmetry(0.8, 0.05, 0.6, 0.9, 0.7, "sky", 150, 1.3)


MIRRORED = {"name": "crop", "min_scale": 0.3, "color": 0.5}
"""The augmentation of images with an up."""


def decide(symmetry: ImageSymmetry | None, **properties: Any) -> tuple[Any, str]:
    plan = make_plan(replace(make_report(**properties), symmetry=symmetry), timed=False)
    return plan.settings["augmentation"], plan.reasons["augmentation"]


def test_images_from_above_are_flipped_and_turned() -> None:
    setting, reason = decide(FROM_ABOVE)
    assert setting == MIRRORED | {"vertical_flip": 0.5, "quarter_turns": True}
    assert "top-bottom flips and quarter turns, as the images have no up" in reason
    assert "0.01 from top to bottom, 0.01 from left to right, in 150 images" in reason


@pytest.mark.parametrize("change", [{"upper_diagonal": 0.2}, {"aspect": 1.5}])
def test_images_whose_rows_and_columns_differ_are_not_turned(change: dict[str, float]) -> None:
    setting, _ = decide(replace(FROM_ABOVE, **change))  # type: ignore[arg-type]
    assert setting == MIRRORED | {"vertical_flip": 0.5}


def test_images_with_an_up_are_only_mirrored() -> None:
    setting, reason = decide(STREET)
    assert setting == MIRRORED and "the images have an up, most clearly by 'sky'" in reason


def test_few_images_are_only_mirrored() -> None:
    setting, reason = decide(replace(FROM_ABOVE, upper_vertical=0.2, count=12))
    assert setting == MIRRORED and "whether the images have an up is not certain" in reason
    assert decide(None) == (MIRRORED, "crops, mirroring and color changes; no class is about left and right")


@pytest.mark.parametrize("name", ["upper jaw", "jaw_bottom", "Unten"])
def test_class_names_can_mean_top_or_bottom(name: str) -> None:
    setting, reason = decide(FROM_ABOVE, names=("background", name))
    assert setting == MIRRORED and f"'{name}' is about top and bottom" in reason


def test_class_names_can_mean_left_or_right() -> None:
    assert decide(FROM_ABOVE, names=("background", "left lung"))[0] == MIRRORED | {"name": "crop-noflip"}
    assert decide(FROM_ABOVE, names=("background", "stop sign"))[0] != MIRRORED, "'stop' is no 'top'"


def test_images_without_a_layout_are_joined_to_mosaics() -> None:
    for symmetry, settings, mosaic in (
        (FROM_ABOVE, {}, 0.2),
        (replace(STREET, vertical=0.12), {}, 0.2),
        (STREET, {}, None),
        (None, {}, None),
        (FROM_ABOVE, {"view": "tiles"}, None),
        (FROM_ABOVE, {"batch_size": 1}, None),
        (FROM_ABOVE, {"mosaic": 0.0}, 0.0),
    ):
        plan = make_plan(replace(make_report(), symmetry=symmetry), settings, timed=False)
        assert plan.settings.get("mosaic") == mosaic, (symmetry, settings)
    report = replace(make_report(), symmetry=FROM_ABOVE)
    reason = make_plan(report, timed=False).reasons["mosaic"]
    assert "predicted by `--view tiles` (asymmetry of 0.01 from top to bottom" in reason


@pytest.mark.parametrize(("processes", "mosaic"), [("4", 0.2), ("5", None)])
def test_each_process_needs_two_images_for_a_mosaic(
    processes: str, mosaic: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    plan = make_plan(replace(make_report(), symmetry=FROM_ABOVE), {"batch_size": 8}, timed=False)
    assert plan.settings.get("mosaic") == mosaic
