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
    soft_edge_question,
)
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.errors import AmbiguousDataError, DataError
from pixelwise.palette import unpack_rgb

MAX_NOISE = 64
"""Maximum distance from 0 or 255 of noisy values, from JPEG compression or resizing, in masks of these two values."""

MAX_COLOR_NOISE = 48
"""Maximum distance, in any channel, between a noisy color and the listed color that it stands for."""

LOSSY_TOLERANCE = 127
"""Tolerance for lossy masks whose values the user or a list has named. Each value stands for the nearest named one."""

MAX_LISTED_COLORS = 30
"""Maximum number of colors in the question about colors that are not near a listed one."""


def remove_noise(
    kind: ValueKind, listed: Mapping[int, str], is_named: bool, counts: MaskValueCounts
) -> tuple[list[int], int, str]:
    """Find the exact values of all masks, and the tolerance for noisy values around them.

    Args:
        kind: the type of value.
        listed: value or color → name, from a list in the data set.
        is_named: True if the list, the format or the user's option `classes` names the classes.
        counts: the value counts of all masks.

    Returns:
        (values, tolerance, message). See `LabelMap` for the tolerance. The message is for the user and can be empty.

    Raises:
        DataError: Values without names have soft edges or more than noise, lossy masks or masks with more than
            `MAX_CLASSES` colors have no list of colors, or a color is not near any listed color.
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
        raise soft_edge_question(kind, classes, counts, values[len(values) // 2])
    return values, 0, ""


def _remove_color_noise(
    values: Sequence[int], listed: Mapping[int, str], counts: MaskValueCounts
) -> tuple[list[int], int, str]:
    example = counts.lossy_example or counts.example("rgb")
    if not listed:
        if classes := find_soft_classes("rgb", counts):
            raise soft_edge_question("rgb", classes, counts, values[len(values) // 2])
        raise DataError(
            f"{example}: masks have {len(values)} colors in all, like photographs or masks saved as JPEG; save masks "
            f"as PNG, list the colors in a class_dict.csv (name,r,g,b), or {HOW_TO_SETTLE}"
        )
    far = np.flatnonzero(_color_distances(values, listed) > MAX_COLOR_NOISE)
    if len(far) and set(counts.mask_counts) == {"index"}:  # gray masks: as with a label map
        return list(listed), LOSSY_TOLERANCE, ""
    if len(far):
        color = format_value(values[far[0]], "rgb")
        pairs = {format_value(value, "rgb"): name for value, name in listed.items()}
        raise AmbiguousDataError(
            f"{example}: the color {color} is not near any listed color; save masks as PNG, or set `label_map` "
            f"{' '.join(f'{value}={name}' for value, name in list(pairs.items())[:MAX_LISTED_COLORS])}"
            f"{' …' if len(pairs) > MAX_LISTED_COLORS else ''}, then each color counts as the nearest of these",
            [{"label_map": pairs}] if len(pairs) <= MAX_LISTED_COLORS else [],
        )
    return list(listed), MAX_COLOR_NOISE, ""


def is_noisy_pair(values: Sequence[int], counts: MaskValueCounts) -> bool:
    """Return True if the values are 0 and 255 with noise. Without lossy masks, both values must have noise.

    Args:
        values: the values of all masks.
        counts: the value counts of all masks.

    Raises:
        DataError: There are lossy masks, and the values are not only 0, 255 and noise.
    """
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
    """Return the distance of each of N colors to the nearest listed one, in the channel that differs most: (N,)."""
    channels = unpack_rgb(colors)
    return np.min([np.abs(channels - unpack_rgb(color)).max(-1) for color in listed], axis=0)


def check_all_named(
    named: Mapping[int, object], kind: ValueKind, counts: MaskValueCounts, options: LabelOptions
) -> None:
    """Check that `label_map` names every mask value. If there are lossy masks, any value is allowed.

    Args:
        named: the values that `label_map` names, or that need no name.
        kind: the type of value.
        counts: the value counts of all masks.
        options: the user's options. With `skip_unreadable`, values that are in few masks are allowed.

    Raises:
        DataError: A value has no name.
    """
    unnamed = [value for value in counts.values(kind) if value not in named]
    if not unnamed or counts.lossy_count or (options.skip_unreadable and are_rare_values(unnamed, kind, counts)):
        return
    shown = ", ".join(format_value(value, kind) for value in unnamed[:8])
    raise DataError(
        f"{counts.example(kind, unnamed[0])}: has {shown}, which `label_map` does not name; "
        f"add {format_value(unnamed[0], kind)}=CLASS"
    )
