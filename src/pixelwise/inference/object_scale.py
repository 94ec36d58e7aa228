"""Check whether images are reduced so far that objects of the training data's size are lost."""

import math
from collections.abc import Iterable

from pixelwise.models.config import ModelConfig

MIN_OBJECT_SIDE = 4.0
"""Objects with a smaller side, in pixels of the model's input, count as lost.

The first stages of encoders reduce the sides of the image to a quarter. So a smaller object fills less than one pixel
of their features.
"""

_MIN_GROWTH = 2.0
"""Minimum side of the images that are checked, as a multiple of the side of the training images.

Smaller images are reduced little more than the training images were.
"""


def lost_object_side(config: ModelConfig, height: int, width: int) -> float | None:
    """Return the side of a typical object of the training data in the model's input, if it is lost in this image.

    The objects are assumed to have as many pixels as in the training images, as in a larger part of the same slide or
    map. If they are larger, because the image has been taken with more pixels, they are not lost.

    Args:
        config: the configuration of the model.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The side in pixels, less than `MIN_OBJECT_SIDE`, or None if objects are not lost or their size is not known.
    """
    scale, side = config.object_scale, math.sqrt(height * width)
    if scale is None or side < _MIN_GROWTH * scale.image_side:
        return None
    reduced = scale.object_side * config.size / side
    return reduced if reduced < MIN_OBJECT_SIDE else None


def lost_object_note(config: ModelConfig, sizes: Iterable[tuple[int, int]]) -> str:
    """Return one line about images that are reduced so far that objects are lost, or "" if there are none.

    Args:
        config: the configuration of the model.
        sizes: (height, width) of each image in pixels.
    """
    lost = [(side, height, width) for height, width in sizes if (side := lost_object_side(config, height, width))]
    if not lost or config.object_scale is None:
        return ""
    side, height, width = min(lost)
    count = f"{len(lost)} image{'s are' if len(lost) > 1 else ' is'}"
    limit = "up to " if len(lost) > 1 else ""
    return (
        f"{count} reduced {limit}{math.sqrt(height * width) / config.size:.0f}x: objects as large as in the training "
        f"images ({config.object_scale.object_side:.0f} px) would be {side:.1f} px wide and are lost; cut the images "
        f"into tiles of about {config.object_scale.image_side:.0f} px"
    )
