"""Check whether images are reduced so far that objects of the training data's size are lost."""

import math
from collections.abc import Iterable

from pixelwise.data.input_size import mean_side
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

MIN_MOSAIC_GROWTH = 4.0
"""Minimum side of images that are probably mosaics, slides or maps, as a multiple of the side of the training images.

An image of one object is rarely that much larger, but it can be: photographs of 12 megapixels beside training images of
500 pixels.
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
    reduced = scale.object_side * mean_side(config.size) / side
    return reduced if reduced < MIN_OBJECT_SIDE else None


def is_much_larger(config: ModelConfig, height: int, width: int) -> bool:
    """Return True if the sides of an image are at least `MIN_MOSAIC_GROWTH` times those of the training images."""
    scale = config.object_scale
    return scale is not None and math.sqrt(height * width) >= MIN_MOSAIC_GROWTH * scale.image_side


def lost_object_note(config: ModelConfig, sizes: Iterable[tuple[int, int]]) -> str:
    """Return one line about images that are much larger than the training images, or "" if there are none.

    The line is about images predicted as a whole. If objects have as many pixels as in the training images, windows
    show them at the right size. If the whole image shows one large object, the whole image is the right view. The two
    cases cannot be distinguished reliably (docs/decisions.md).

    Args:
        config: the configuration of the model.
        sizes: (height, width) of each image in pixels.

    Returns:
        The line without a period at its end.
    """
    sizes, scale = list(sizes), config.object_scale
    large = [(height, width) for height, width in sizes if is_noted(config, height, width)]
    if not large or scale is None:
        return ""
    sides = [math.sqrt(height * width) for height, width in large]
    lost = [side for size in large if (side := lost_object_side(config, *size)) is not None]
    count = f"{len(large)} image{'s are' if len(large) > 1 else ' is'}"
    limit = "up to " if len(large) > 1 else ""
    reduction = max(sides) / mean_side(config.size)
    effect = f"would be {min(lost):.1f} px wide and are lost" if lost else "are hardly visible"
    return (
        f"{count} {limit}{max(sides) / scale.image_side:.0f}x as large as the training images "
        f"({scale.image_side:.0f} px) and reduced {limit}{reduction:.0f}x: objects as large as in the "
        f"training images ({scale.object_side:.0f} px) {effect}; predict images of many such objects with `view` tiles"
    )


def is_noted(config: ModelConfig, height: int, width: int) -> bool:
    """Return True if `lost_object_note` has a line for an image of this size."""
    return is_much_larger(config, height, width) or lost_object_side(config, height, width) is not None
