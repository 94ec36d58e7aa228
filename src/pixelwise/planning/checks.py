"""Detection of classes whose objects are too small at the planned image size or scale."""

import math

from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.input_size import MAX_SIZE, mean_side, parse_size
from pixelwise.data.schema import DataIssue
from pixelwise.planning.plan import Plan

MIN_OBJECT_SIDE = 3.0
"""Minimum side of an object in the resized image, in pixels, below which a model cannot learn the object.

Decoders predict at a stride of 2 to 4 pixels. Smaller objects can be between two predictions.
"""

_NOT_LARGER = "the images do not show them larger, so merge the class with another or ignore its value"
"""The fix if a class has no larger objects at the images' own size."""

_SIZE_STEP = 32
"""Recommended image sizes are multiples of this number of pixels."""


def find_plan_issues(report: DatasetReport, plan: Plan) -> tuple[DataIssue, ...]:
    """Return a warning for each class whose objects are too small at the planned image size, or scale of tiles.

    Args:
        report: the statistics of the data set.
        plan: the plan made from `report`. It must have the setting `image_size`, and `scale` for tiles.
    """
    issues = []
    size = parse_size(plan.settings["image_size"], 1, MAX_SIZE)
    scale = plan.settings.get("eval_scale", 1.0)  # the model gets whole images at this multiple of `image_size`
    if plan.settings.get("view") == "tiles":
        return _find_tile_issues(report, plan.settings["scale"])
    for stats in report.classes:
        side = (stats.typical_size or 1.0) * mean_side(size) * scale
        if side < MIN_OBJECT_SIDE and stats.typical_size:
            fault = (
                f"the objects of class '{stats.name}' are typically {side:.1f} px in size at the planned image size of "
                f"{size} px, and a model needs about {MIN_OBJECT_SIDE:.0f} px"
            )
            fix = _fix(report, stats.typical_size, scale)
            issues.append(DataIssue("small objects", str(report.data.root), f"{fault}; {fix}", "warning"))
    return tuple(issues)


def _find_tile_issues(report: DatasetReport, scale: float) -> tuple[DataIssue, ...]:
    """Return a warning for each class whose objects are too small at the scale of tiles."""
    assert report.widths is not None and report.heights is not None
    own_side = math.sqrt(report.widths.median * report.heights.median)
    issues = []
    for stats in report.classes:
        side = (stats.typical_size or 1.0) * own_side
        if side * scale >= MIN_OBJECT_SIDE:
            continue
        fault = (
            f"the objects of class '{stats.name}' are typically {side * scale:.1f} px in size at the planned scale of "
            f"{scale:g}, and a model needs about {MIN_OBJECT_SIDE:.0f} px"
        )
        fix = "set `scale` to 1" if side >= MIN_OBJECT_SIDE else _NOT_LARGER
        issues.append(DataIssue("small objects", str(report.data.root), f"{fault}; {fix}", "warning"))
    return tuple(issues)


def _fix(report: DatasetReport, typical_size: float, scale: float) -> str:
    """Return the advice for a class with small objects.

    Args:
        report: the statistics of the data set.
        typical_size: median of √(object area / image area) over the objects of the class.
        scale: the setting `eval_scale`.
    """
    assert report.widths is not None and report.heights is not None
    needed = math.ceil(MIN_OBJECT_SIDE / typical_size / scale / _SIZE_STEP) * _SIZE_STEP
    own_side = math.sqrt(report.widths.median * report.heights.median)
    if typical_size * own_side < MIN_OBJECT_SIDE:
        return _NOT_LARGER
    if needed > MAX_SIZE:
        return "set `view` to tiles"
    return f"set `image_size` to {needed}, or `view` to tiles"
