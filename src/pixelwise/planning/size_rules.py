"""Rules of a plan for the sizes of the images: in the training, at its start, and in predictions."""

from pixelwise.config import START_SIZE_FRACTION, Config
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.augmentations import source_size
from pixelwise.data.input_size import (
    MAX_SIZE,
    HeightWidth,
    map_sides,
    mean_side,
    parse_size,
    to_pair,
    to_plain,
)
from pixelwise.models.timm_models import has_fixed_input_size
from pixelwise.planning.memory import max_batch
from pixelwise.planning.rule import Decision, RuleInput
from pixelwise.planning.view_rules import MIN_CLASS_WIDTH, choose_window_size, image_side

IMAGE_SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
"""The image sizes that a plan can have, in pixels. All are multiples of 32, the coarsest stride of the encoders."""

MIN_IMAGE_SIZE = 192
"""Image size in pixels at the start of the training if no class is narrow. Smaller images make the edges of large
objects less accurate (docs/decisions.md)."""

START_FACTOR = 0.75
"""Size of the images at the start of the training as a multiple of the image size (docs/decisions.md)."""

ENLARGEMENTS = (1.6, 4 / 3)
"""Image size in the training divided by the images' own size, at most, if a class is narrow in images of that size.
The first one is taken for which memory suffices (docs/decisions.md)."""

NARROW_EVAL_SCALE = 1.45
"""Image size in validation and prediction divided by that in the training, if a class is narrow in enlarged images
(docs/decisions.md)."""

MIN_ENLARGED_BATCH = 8
"""Minimum number of enlarged images that must fit into a training step. Muon needs batches (docs/decisions.md)."""

LARGE_SIZE, LARGE_START_SIZE = 320, 224
"""Image sizes in the training and at its start if the time suffices and no class is narrow (docs/decisions.md)."""

MIN_START_SIZE = 128
"""Minimum size in pixels of the images at the start, if it is smaller than the image size."""

SAME_ASPECT = 0.02
"""Maximum relative difference of the aspect ratios of images that count as one aspect ratio."""


def choose_image_size(facts: RuleInput) -> Decision:
    """Choose the side of windows, see `choose_window_size`, or of whole images, see `choose_whole_size`."""
    return choose_window_size(facts) if facts.settings["view"] == "tiles" else choose_whole_size(facts)


def choose_whole_size(facts: RuleInput) -> Decision:
    """Choose an image size at which the narrowest class is wide enough, also in the smaller images at the start.

    The size at the start is the smallest of `IMAGE_SIZES`, at least `MIN_IMAGE_SIZE`, at which the class is
    `MIN_CLASS_WIDTH` wide or more. If it is too narrow at all sizes, it is the largest size. The image size is this
    size divided by `START_FACTOR`. It does not exceed that of the median image, unless all sizes exceed it, or the
    class is too narrow in such images, see `_enlarged_size`.

    If all images have the same aspect ratio, so has the image size. Otherwise, it is a square. Encoders with a fixed
    input size have the size at the start.
    """
    report = facts.report
    widths = {stats.name: stats.mean_width for stats in report.classes if stats.mean_width}
    if not widths or report.widths is None or report.heights is None:
        return Decision(MIN_IMAGE_SIZE, "there are no objects to derive a size from")
    name, width = min(widths.items(), key=lambda item: item[1])
    target = max(MIN_CLASS_WIDTH / width, MIN_IMAGE_SIZE)
    start = next((size for size in IMAGE_SIZES if size >= target), IMAGE_SIZES[-1])
    reason = f"'{name}' is typically {width:.1%} of an image's side wide"
    if has_fixed_input_size(facts.settings.get("encoder", Config().encoder)):
        start = min(start, max((size for size in IMAGE_SIZES if size <= image_side(facts)), default=IMAGE_SIZES[0]))
        return Decision(start, f"{reason}: {width * start:.0f} px at this size (the target is {MIN_CLASS_WIDTH})")
    size = _fit_size(start / START_FACTOR, report)
    own = f"{report.widths.median:.0f}x{report.heights.median:.0f}"
    if mean_side(size) < start / START_FACTOR - 32:
        if not is_narrow(report, mean_side(size) * START_FACTOR):
            return Decision(size, f"{reason}; a size above the images' own ({own}) adds nothing")
        larger = _enlarged_size(facts, start)
        if larger is None:
            return Decision(size, f"{reason}; a size above the images' own ({own}) takes too much time or memory")
        pixels = f"{width * mean_side(larger):.0f} px in images larger than their own size ({own})"
        return Decision(larger, f"{reason}: {pixels}; more of such a class is found in them")
    pixels = f"{width * mean_side(size) * START_FACTOR:.0f} px at the start of the training"
    return Decision(size, f"{reason}: {pixels} (the target is {MIN_CLASS_WIDTH}), {width * mean_side(size):.0f} later")


def _enlarged_size(facts: RuleInput, start: int) -> int | HeightWidth | None:
    """Return a size above that of the median image, for a class that is narrow in images of their own size.

    Args:
        facts: the settings of the plan.
        start: side of the images in pixels at the start of the training, if their own size did not matter.

    Returns:
        The size. None with a time budget, because the training would see too few of such images, and if less than
        `MIN_ENLARGED_BATCH` of them fit into memory.
    """
    if facts.settings.get("time_budget") is not None:
        return None
    sizes = (_fit_size(start / START_FACTOR, facts.report, factor) for factor in ENLARGEMENTS)
    return next((size for size in sizes if max_batch(size, facts.settings) >= MIN_ENLARGED_BATCH), None)


def _fit_size(side: float, report: DatasetReport, largest: float = 1.0) -> int | HeightWidth:
    """Return the image size of about side · side pixels, with the aspect ratio of the images if all have the same.

    The sides are multiples of 32. They do not exceed those of the median image times `largest`, but are at least the
    smallest of `IMAGE_SIZES`.
    """
    assert report.widths is not None and report.heights is not None
    width, height = report.widths.median, report.heights.median
    ratios = report.aspect_ratios
    if ratios is None or ratios.max > ratios.min * (1 + SAME_ASPECT):
        width = height = (width * height) ** 0.5
    factor = min(side / (width * height) ** 0.5, largest)
    smallest = IMAGE_SIZES[0] // 32
    sides = [
        32 * max(min(round(length * factor / 32), int(length * largest // 32)), smallest) for length in (height, width)
    ]
    return sides[0] if sides[0] == sides[1] else HeightWidth(*sides)


def is_narrow(report: DatasetReport, side: float) -> bool:
    """Return True if the narrowest class is less than `MIN_CLASS_WIDTH` wide in images of side · side pixels.

    Sizes are multiples of 32, so the side may be 16 px less than needed.
    """
    widths = [stats.mean_width for stats in report.classes if stats.mean_width]
    return bool(widths) and min(widths) * (side + 16) < MIN_CLASS_WIDTH


def is_enlarged(facts: RuleInput) -> bool:
    """Return True if the images of the training are clearly larger than the median image."""
    return mean_side(facts.settings["image_size"]) > image_side(facts) + 32


def starts_narrow(facts: RuleInput) -> bool:
    """Return True if a class is too narrow in the smaller images at the start of the training."""
    start = facts.settings.get("start_size")
    return start is not None and is_narrow(facts.report, mean_side(to_pair(parse_size(start, 1, MAX_SIZE))))


def enlarge(facts: RuleInput) -> dict[str, Decision]:
    """Choose larger images for a machine that is fast enough (see `use_time`).

    Args:
        facts: the settings of the plan, and the names of those that the user gave.

    Returns:
        The sizes of the images, in the training and at its start. Empty if the images are not whole, a size is given or
        follows from a narrow class, or the images of the data set are too small.
    """
    start = facts.settings.get("start_size")
    sizes = ("image_size", "start_size", "batch_size")
    if (
        start is None
        or not facts.given.isdisjoint(sizes)
        or mean_side(to_pair(parse_size(start, 1, MAX_SIZE))) > MIN_IMAGE_SIZE
    ):
        return {}
    sides = [_fit_size(side, facts.report) for side in (LARGE_SIZE, LARGE_START_SIZE)]
    if mean_side(sides[0]) < LARGE_SIZE - 16:
        return {}
    reason = "larger images have more accurate edges, and a training with them ends in time"
    return {"image_size": Decision(sides[0], reason), "start_size": _start_with(sides[1])}


def choose_start_size(facts: RuleInput) -> Decision | None:
    """Choose smaller images for the start of the training. Return None for tiles and for small images."""
    if facts.settings["view"] == "tiles" or has_fixed_input_size(facts.settings["encoder"]):
        return None
    size = facts.settings["image_size"]
    start = map_sides(lambda side: max(32 * round(side * START_FACTOR / 32), MIN_START_SIZE), size)
    if mean_side(start) >= mean_side(size):
        return None
    return _start_with(start)


def _start_with(size: int | HeightWidth) -> Decision:
    reason = f"the first {START_SIZE_FRACTION:.0%} of the training is faster with smaller images"
    return Decision(to_plain(size), reason)


def choose_eval_scale(facts: RuleInput) -> Decision | None:
    """Choose the scale at which objects in whole images are about as large as in the training crops.

    The scale is 1 if training uses whole images or the encoder has a fixed input size. It is `NARROW_EVAL_SCALE` if a
    class is narrow even in enlarged images. Return None for tiles.
    """
    if facts.settings["view"] == "tiles":
        return None
    scale = source_size(facts.settings["augmentation"], 100) / 100
    if scale == 1:
        return Decision(1.0, "training uses whole images too")
    if has_fixed_input_size(facts.settings["encoder"]):
        return Decision(1.0, "the encoder has a fixed input size")
    if is_enlarged(facts) and is_narrow(facts.report, mean_side(facts.settings["image_size"])):
        return Decision(NARROW_EVAL_SCALE, "a class is narrow in enlarged images; more of it is found in larger ones")
    return Decision(scale, "objects in whole images are then about as large as in the training crops")
