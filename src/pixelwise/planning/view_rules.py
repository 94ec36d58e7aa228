"""Rules of a plan for the view of the images: whole images, or windows of them."""

from pixelwise.config import Config
from pixelwise.data.analysis.class_stats import ClassStats
from pixelwise.data.augmentations import window_size
from pixelwise.data.windows import windows_per_image
from pixelwise.models.encoder_table import MODEL_SIZES
from pixelwise.planning.rule import Decision, RuleInput

MAX_WHOLE_SIZE = 512
"""Maximum side in pixels of whole images in a plan."""

MIN_CLASS_WIDTH = 6
"""Minimum width of the narrowest class after resizing, in pixels (docs/decisions.md)."""

WINDOW_SIZES = (128, 256, 384)
"""The sides of windows that a plan can have, in working pixels. All are multiples of 128. Larger windows need
more memory, and contain more context than most thin structures need."""

_MIN_GAIN = 1.5
"""Minimum width of the narrowest class in tiles, divided by that in whole images, for a plan of tiles."""

_THIN_WIDTH = 8
"""Width in working pixels of the narrowest class below which the decoder needs a stage at half the image's size."""


def choose_view(facts: RuleInput) -> Decision:
    """Choose tiles if the narrowest class is too narrow in whole images, and clearly wider in tiles.

    Whole images have at most `MAX_WHOLE_SIZE` pixels a side, and the class needs a width of `MIN_CLASS_WIDTH` pixels.
    Tiles have a scale of at most 1. A tile contains less context, so the class must be wider by the factor `_MIN_GAIN`.
    Whole images are also chosen if no class has a width, or if `eval_scale` or a height and a width are given.
    """
    narrowest = _narrowest(facts)
    if narrowest is None or facts.report.widths is None or facts.report.heights is None:
        return Decision("whole", "there are no objects to derive a view from")
    if not facts.given.isdisjoint(("eval_scale",)):
        return Decision("whole", "eval_scale is a setting of whole images")
    if not isinstance(facts.settings.get("image_size", 0), int):
        return Decision("whole", "windows are square, and the image size is a height and a width")
    width = narrowest.width or 0.0
    whole = MAX_WHOLE_SIZE / image_side(facts)
    seen = f"'{narrowest.name}' is {_pixels(width)} wide in images of {_image_size(facts)}"
    if width * whole >= MIN_CLASS_WIDTH:
        return Decision("whole", f"{seen}: {_pixels(width * whole)} in whole images at {MAX_WHOLE_SIZE} px")
    if needed_scale(width) < _MIN_GAIN * whole:
        return Decision("whole", f"{seen}, not much larger than {MAX_WHOLE_SIZE} px: tiles would gain little")
    return Decision("tiles", f"{seen}; whole images at {MAX_WHOLE_SIZE} px would leave {_pixels(width * whole)}")


def choose_scale(facts: RuleInput) -> Decision | None:
    """Choose the smallest scale, of at most 1, at which the narrowest class is wide enough.

    Return None for whole images.
    """
    if facts.settings["view"] != "tiles":
        return None
    narrowest = _narrowest(facts)
    if narrowest is None or narrowest.width is None:
        return Decision(1.0, "there are no objects to derive a scale from")
    scale = needed_scale(narrowest.width)
    if scale == 1:
        return Decision(1.0, f"full scale: '{narrowest.name}' is {_pixels(narrowest.width)} wide")
    return Decision(scale, f"'{narrowest.name}' is then {_pixels(narrowest.width * scale)} wide")


def needed_scale(width: float) -> float:
    """Return the scale at which a class is `MIN_CLASS_WIDTH` pixels wide, at most 1.

    Args:
        width: width of the class in image pixels.

    >>> needed_scale(4), needed_scale(24)
    (1.0, 0.25)
    """
    return min(1.0, round(MIN_CLASS_WIDTH / width, 3)) if width > 0 else 1.0


def choose_window_size(facts: RuleInput) -> Decision:
    """Choose the largest of `WINDOW_SIZES` that does not exceed the image at the working scale."""
    scale = facts.settings["scale"]
    report = facts.report
    assert report.widths is not None and report.heights is not None
    shorter = min(report.widths.median, report.heights.median) * scale
    size = next((size for size in reversed(WINDOW_SIZES) if size <= shorter), WINDOW_SIZES[0])
    at = "full scale" if scale == 1 else f"a scale of {scale:g}"
    return Decision(size, f"tiles of {size} px at {at}")


def choose_decoder(facts: RuleInput) -> Decision | None:
    """Choose a decoder with a stage at half the image's size if a class of tiles is thin.

    Return None for whole images, if no class is thin, and for encoders that are not in `MODEL_SIZES`, because they may
    have no feature at half the image's size.
    """
    settings, narrowest = facts.settings, _narrowest(facts)
    is_known = settings["encoder"] in {info.name for info in MODEL_SIZES.values()}
    if settings["view"] != "tiles" or not is_known or narrowest is None:
        return None
    width = (narrowest.width or 0.0) * settings["scale"]
    if width >= _THIN_WIDTH:
        return None
    reason = f"a stage at half the image's size, because '{narrowest.name}' is {_pixels(width)} wide"
    return Decision({"name": "fpn", "stages": 5}, reason)


def items_per_epoch(facts: RuleInput) -> int:
    """Return the number of training images of an epoch, or of training windows for tiles."""
    settings, report = facts.settings, facts.report
    if settings.get("view") != "tiles" or report.widths is None or report.heights is None:
        return facts.train_count
    area = report.widths.median * report.heights.median * settings["scale"] ** 2
    side = window_size(settings.get("augmentation", Config().augmentation), settings["image_size"])
    return int(windows_per_image([area] * max(facts.train_count, 1), side).sum())


def _narrowest(facts: RuleInput) -> ClassStats | None:
    """Return the class with the smallest width in image pixels, or None if no class has one."""
    return min(
        (stats for stats in facts.report.classes if stats.width), key=lambda stats: stats.width or 0, default=None
    )


def image_side(facts: RuleInput) -> float:
    """Return the side in pixels of a square with the area of the median image."""
    assert facts.report.widths is not None and facts.report.heights is not None
    return float(facts.report.widths.median * facts.report.heights.median) ** 0.5


def _image_size(facts: RuleInput) -> str:
    """Return the median width and height of the images, for example "640x480"."""
    assert facts.report.widths is not None and facts.report.heights is not None
    return f"{facts.report.widths.median:.0f}x{facts.report.heights.median:.0f}"


def _pixels(width: float) -> str:
    return f"{width:.1f} px" if width < 3 else f"{width:.0f} px"
