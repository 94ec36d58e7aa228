"""The rules of a plan for the augmentation."""

import re
from typing import Any

from pixelwise.data.analysis.symmetry import ImageSymmetry
from pixelwise.planning.rule import Decision, RuleInput
from pixelwise.runtime.distributed import process_count

_LEFT_RIGHT = re.compile(
    r"(^|[^a-z])(left|right|links|rechts|linke[rs]?|rechte[rs]?|gauche|droite?|izquierd[ao]|derech[ao]|[lr])([^a-z]|$)"
)
"""Words for left or right in English, German, French and Spanish."""

_UP_DOWN = re.compile(
    r"(^|[^a-z])(top|bottom|upper|lower|oben|unten|obere[rs]?|untere[rs]?|haut|bas|arriba|abajo)([^a-z]|$)"
)
"""Words for top or bottom in the same languages."""


MIN_CROP_AREA = 0.3
"""Minimum area of a random crop of a whole image, as a fraction of the image's area (docs/decisions.md)."""


COLOR = 0.5
"""Largest change of brightness, contrast and saturation of a whole image, see `CropParams` (docs/decisions.md)."""


MOSAIC = 0.2
"""Fraction of the training images of a plan that are joined to mosaics (docs/decisions.md)."""

MAX_MOSAIC_ASYMMETRY = 0.3
"""Maximum top-bottom asymmetry of images that a plan joins to mosaics, see `ImageSymmetry`. Photos of pets have
0.12, and images of streets 0.84."""


def choose_augmentation(facts: RuleInput) -> Decision:
    """Choose random crops, with the flips and turns after which an image could still be one of the data set.

    Left-right flips are left out if the name of a class contains a word for left or right. Top-bottom flips are added
    if the images have no "up", and quarter turns if `ImageSymmetry.allows_quarter_turns` is True. Both are left out if
    the name of a class contains a word for left, right, top or bottom.
    """
    names = facts.report.data.classes
    sided = _find(_LEFT_RIGHT, names)
    if sided is not None:
        return Decision(
            _crop(facts, "crop-noflip"), f"'{sided}' is about left and right: mirrored images would be wrong"
        )
    reason = "crops, mirroring and color changes; no class is about left and right"
    symmetry, upright = facts.report.symmetry, _find(_UP_DOWN, names)
    if upright is not None:
        return Decision(_crop(facts), f"{reason}; '{upright}' is about top and bottom")
    if symmetry is None or symmetry.has_up:
        return Decision(_crop(facts), f"{reason}; {_describe_up(symmetry)}" if symmetry else reason)
    turns: dict[str, Any] = {"vertical_flip": 0.5}
    how = "top-bottom flips"
    if symmetry.allows_quarter_turns:
        turns, how = turns | {"quarter_turns": True}, "top-bottom flips and quarter turns"
    return Decision(_crop(facts, **turns), f"{reason}; {how}, as the images have no up ({_numbers(symmetry)})")


def choose_mosaic(facts: RuleInput) -> Decision | None:
    """Choose the fraction of whole images that are joined to mosaics. Return None to join none.

    A mosaic has objects at each place, as a large image has. Images with a layout, such as the sky above a street, are
    not joined. Each process needs two images per batch.
    """
    symmetry, settings = facts.report.symmetry, facts.settings
    if settings["view"] != "whole" or settings["batch_size"] < 2 * process_count():
        return None
    if symmetry is None or symmetry.vertical > MAX_MOSAIC_ASYMMETRY:
        return None
    reason = "objects can be at any place, so large images with several of them can be predicted by `--view tiles`"
    return Decision(MOSAIC, f"{reason} ({_numbers(symmetry)})")


def _crop(facts: RuleInput, name: str = "crop", **parameters: Any) -> str | dict[str, Any]:
    """Return the setting of random crops. Whole images have smaller crops and stronger color changes."""
    if facts.settings["view"] == "whole":
        parameters = {"min_scale": MIN_CROP_AREA, "color": COLOR} | parameters
    return {"name": name, **parameters} if parameters else name


def _find(pattern: re.Pattern[str], names: tuple[str, ...]) -> str | None:
    """Return the first name that contains a word of a pattern, or None."""
    return next((name for name in names if pattern.search(name.lower().replace("_", " "))), None)


def _describe_up(symmetry: ImageSymmetry) -> str:
    """Return the reason why images may have an up."""
    if symmetry.vertical > 2 * max(symmetry.horizontal, 1 / symmetry.count):
        return f"the images have an up, most clearly by '{symmetry.strongest}' ({_numbers(symmetry)})"
    return f"whether the images have an up is not certain ({_numbers(symmetry)})"


def _numbers(symmetry: ImageSymmetry) -> str:
    return (
        f"asymmetry of {symmetry.vertical:.2f} from top to bottom, {symmetry.horizontal:.2f} from left to right, "
        f"in {symmetry.count} images or groups"
    )
