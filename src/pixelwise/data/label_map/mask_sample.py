"""Measurements of a few masks, for properties that value counts do not contain, such as the shape of regions."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from pixelwise.data.io.mask_values import ValueKind, mask_values, open_mask
from pixelwise.data.schema import MaskSource, MultilabelMask, PolygonMask
from pixelwise.errors import DataError

T = TypeVar("T")

SAMPLED_MASKS = 16
"""Approximate number of masks that are read, evenly spaced. Fewer than twice this number are read."""


def measure_masks(masks: Sequence[MaskSource | None], kind: ValueKind, measure: Callable[[np.ndarray], T]) -> list[T]:
    """Read a sample of the masks and measure each.

    Args:
        masks: the masks. Polygons, multi-label masks and files that cannot be read are skipped.
        kind: the type of value, see `LabelMap`.
        measure: a function of the (H, W) values of a mask.

    Returns:
        One result for each mask that was measured, fewer than 2 · `SAMPLED_MASKS`.
    """
    results = []
    for mask in masks[:: max(1, len(masks) // SAMPLED_MASKS)]:
        if mask is None or isinstance(mask, PolygonMask | MultilabelMask):
            continue
        try:
            results.append(open_mask(mask, lambda image: measure(mask_values(image, kind))))
        except DataError:
            continue
    return results
