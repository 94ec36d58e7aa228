"""Noise in mask values from JPEG compression, resizing and soft edges, and the exact values behind it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.naming import HOW_TO_SETTLE, are_rare_values
from pixelwise.data.label_map.options import MAX_CLASSES, LabelOptions
from pixelwise.data.label_map.soft_edges import (
    NEAREST,
    describe_soft_edges,
    find_soft_classes,
    has_soft_edges,
    soft_edge_fault,
)
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.errors import DataError
from pixelwise.palette import unpack_rgb

MAX_NOISE = 64
"""Distance from 0 and 255, up to which values of a two-value mask are noise from JPEG compression or resizing."""

MAX_COLOR_NOISE = 48
"""Distance, in any channel, up to which a color of a lossy mask stands for a listed color."""

LOSSY_TOLERANCE = 127
"""Tolerance for lossy masks whose values the user has named: each value stands for the nearest named one."""


def remove_noise(
    kind: ValueKind, listed: Mapping[int, str], is_named: bool, counts: MaskValueCounts
) -> tuple[list[int], int, str]:
    """Find the exact values of all masks, and the tolerance for noisy values around them.

    Args:
        kind: the type of value.
        listed: the names of values or colors from a list in the data set.
        is_named: True if there are names, listed or in order.
        counts: the value counts of all masks.

    Returns:
        The values, sorted; the tolerance, see `LabelMap`; and a message, or "".

    Raises:
        DataError: Nobody has named the values, and there is more than noise.
    """
    values = list(counts.values(kind))
    if listed and not counts.lossy_count and has_soft_edges(kind, listed, counts):
        return list(listed), NEAREST, describe_soft_edges(kind, listed, counts)
    if kind != "rgb":
        if not is_named and is_noisy_pair(values, counts):
            return [0, 255], MAX_NOISE, ""
    elif counts.lossy_count or len(values) > MAX_CLASSES:
        return _remove_color_noise(values, listed, counts)
    if not is_named and (classes := find_soft_classes(kind, counts)):
        raise DataError(f"{counts.example(kind, values[len(values) // 2])}: {soft_edge_fault(kind, classes, counts)}")
    return values, 0, ""


def _remove_color_noise(
    values: Sequence[int], listed: Mapping[int, str], counts: MaskValueCounts
) -> tuple[list[int], int, str]:
    example = counts.lossy_example or counts.example("rgb")
    if not listed:
        if classes := find_soft_classes("rgb", counts):
            raise DataError(f"{example}: {soft_edge_fault('rgb', classes, counts)}")
        raise DataError(
            f"{example}: masks have {len(values)} colors in all, like photographs or masks saved as JPEG; save masks "
            f"as PNG, list the colors in a class_dict.csv (name,r,g,b), or {HOW_TO_SETTLE}"
        )
    far = np.flatnonzero(_color_distances(values, listed) > MAX_COLOR_NOISE)
    if len(far) and set(counts.mask_counts) == {"index"}:  # gray masks: as with a label map
        return list(listed), LOSSY_TOLERANCE, ""
    if len(far):
        color = format_value(values[far[0]], "rgb")
        raise DataError(f"{example}: the color {color} is not near any listed color; {HOW_TO_SETTLE}")
    return list(listed), MAX_COLOR_NOISE, ""


def is_noisy_pair(values: Sequence[int], counts: MaskValueCounts) -> bool:
    """Return True if the values are 0 and 255 with noise. Raise DataError for lossy masks with more than noise."""
    if set(values) <= {0, 255}:
        return False
    near = all(value <= MAX_NOISE or 255 - MAX_NOISE <= value <= 255 for value in values)
    noise_at_both = any(0 < value <= MAX_NOISE for value in values) and any(
        255 - MAX_NOISE <= value < 255 for value in values
    )
    if near and (noise_at_both or counts.lossy_count) and max(values) > MAX_NOISE:
        return True
    if counts.lossy_count:
        raise DataError(
            f"{counts.lossy_example}: a mask saved as JPEG or lossy WebP, with more than noise around 0 and 255 "
            f"({len(values)} values in all masks); save masks as PNG, or {HOW_TO_SETTLE}"
        )
    return False


def _color_distances(colors: Sequence[int], listed: Iterable[int]) -> np.ndarray:
    """Return the distance of each color to the nearest listed one, (N,), in the channel that differs most."""
    channels = unpack_rgb(colors)
    return np.min([np.abs(channels - unpack_rgb(color)).max(-1) for color in listed], axis=0)


def check_all_named(
    named: Mapping[int, object], kind: ValueKind, counts: MaskValueCounts, options: LabelOptions
) -> None:
    """Raise DataError for a mask value that `label_map` lacks. Lossy masks may have any value."""
    unnamed = [value for value in counts.values(kind) if value not in named]
    if not unnamed or counts.lossy_count or (options.skip_unreadable and are_rare_values(unnamed, kind, counts)):
        return
    shown = ", ".join(format_value(value, kind) for value in unnamed[:8])
    raise DataError(
        f"{counts.example(kind, unnamed[0])}: has {shown}, which `label_map` does not name; "
        f"add {format_value(unnamed[0], kind)}=CLASS"
    )
