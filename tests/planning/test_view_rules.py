"""The view of a plan: whole images, or tiles at the scale that the narrowest class needs."""

from typing import Any

import pytest

import pixelwise as pw
from pixelwise.planning.checks import find_plan_issues
from pixelwise.planning.rules import make_plan
from tests.planning.helpers import make_report

CRACKS: dict[str, Any] = {"names": ("background", "crack"), "size": (4000, 3000)}


def plan_for(width: float | None, settings: dict[str, Any] | None = None, **properties: Any) -> pw.Plan:
    return make_plan(make_report(**CRACKS | properties, widths=(None, width)), settings, timed=False)


def test_thin_classes_of_large_images_need_tiles_at_full_scale() -> None:
    plan = plan_for(4.0)
    assert (plan.settings["view"], plan.settings["scale"], plan.settings["image_size"]) == ("tiles", 1.0, 384)
    assert plan.reasons["view"] == (
        "'crack' is 4 px wide in images of 4000x3000; whole images at 512 px would leave 0.6 px"
    )
    assert plan.reasons["image_size"] == "tiles of 384 px at full scale"
    assert plan.settings["decoder"] == {"name": "fpn", "stages": 5}
    assert "eval_scale" not in plan.settings
    assert "half the image's size" in plan.reasons["decoder"]


def test_the_scale_keeps_six_pixels() -> None:
    plan = plan_for(24.0)
    assert (plan.settings["view"], plan.settings["scale"]) == ("tiles", 0.25)
    assert plan.reasons["scale"] == "'crack' is then 6 px wide"
    assert plan.settings["image_size"] == 384, "the images are 1000x750 working pixels"
    assert plan_for(12.0, size=(4000, 700)).settings["image_size"] == 256, "350 px is the shorter side of the images"


@pytest.mark.parametrize(
    ("width", "size", "reason"),
    [
        (45.0, (4000, 3000), "7 px in whole images at 512 px"),
        (3.0, (480, 360), "tiles would gain little"),
        (4.0, (700, 700), "tiles would gain little"),
        (None, (4000, 3000), "no objects"),
    ],
)
def test_whole_images_suffice(width: float | None, size: tuple[int, int], reason: str) -> None:
    plan = plan_for(width, size=size)
    assert plan.settings["view"] == "whole" and reason in plan.reasons["view"]
    assert "scale" not in plan.settings and "decoder" not in plan.settings


def test_given_settings_decide() -> None:
    assert plan_for(4.0, {"eval_scale": 1.5}).settings["view"] == "whole"
    tiles = plan_for(45.0, {"view": "tiles", "scale": 0.5})
    assert tiles.settings["scale"] == 0.5 and "decoder" not in tiles.settings, "22 px are not thin"
    assert plan_for(4.0, {"image_size": 256}).settings["view"] == "tiles"
    pair = plan_for(4.0, {"image_size": "288x384"})
    assert pair.settings["view"] == "whole" and "windows are square" in pair.reasons["view"]
    assert plan_for(4.0, {"encoder": "tf_efficientnet_lite2"}).settings["decoder"] == {"name": "fpn", "stages": 5}
    assert "decoder" not in plan_for(4.0, {"encoder": "convnext_atto"}).settings, "its first feature has stride 4"
    with pytest.raises(pw.ConfigError, match=r"`scale` 0\.5 needs `view` tiles"):
        plan_for(4.0, {"scale": 0.5})


def test_windows_count_as_images() -> None:
    few = plan_for(4.0, images=14)
    assert few.settings["encoder_training"] == "auto" and "windows are enough" in few.reasons["encoder_training"]
    assert few.settings["epochs"] == 4 and "780 windows an epoch" in few.reasons["epochs"]
    assert few.settings["batch_size"] == 4
    small = plan_for(4.0, {"image_size": 128}, images=14).settings
    assert small["batch_size"] == 16 and small["epochs"] == 4, "18,000 windows have as many pixels as 2,000 of 384 px"
    assert plan_for(4.0, {"view": "whole"}, images=14).settings["encoder_training"] == "none"


def test_objects_that_stay_too_small_are_an_issue() -> None:
    report = make_report(**CRACKS, widths=(None, 4.0))
    plan = make_plan(report, timed=False)
    assert find_plan_issues(report, plan) == ()
