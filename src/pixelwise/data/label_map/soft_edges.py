"""Soft edges: masks with values between those of the classes, from resizing, soft brushes or mattes."""

from collections.abc import Collection, Sequence

import numpy as np

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.mask_sample import measure_masks
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import MaskSource
from pixelwise.palette import unpack_rgb

NEAREST = (1 << 16) - 1
"""Tolerance with which every value stands for the nearest one."""

MIN_SOFT_VALUES = 16
"""From this number of values on, nobody has forgotten to name them: they are soft edges."""

MIN_FEW_SOFT_VALUES, MAX_FEW_SOFT_PIXELS = 3, 0.05
"""Fewer values are soft edges from this number on, if they have at most this fraction of all pixels."""

MAX_SOFT_COLOR_PIXELS = 0.25
"""Unnamed colors are soft edges or noise if they have at most this fraction of all pixels, or if they are mixtures."""

MAX_NAMED_NOISE, MAX_UNNAMED_NOISE, MIN_MIXED_PIXELS = 48, 8, 0.9
"""Colors are mixtures if this fraction of their pixels is at most this far from the line between two classes."""

MAX_MIXED_COLORS = 32
"""With more classes, colors are not compared with the lines between all of them."""

MIN_GAP = 32
"""Smallest distance of two classes whose edges can be soft."""

MIN_CLASS_PIXELS = 0.02
"""Unnamed masks: a value with less than this fraction of all pixels can belong to soft edges."""

MAX_THIN_VALUES, MAX_INNER = 12, 0.03
"""Unnamed masks: up to this number of values between two others can be thin edges, if at most this fraction of their
pixels is not at a border."""

MAX_SOFT_CLASSES = 8
"""Unnamed masks: with more classes, values are not said to be soft edges."""

MIN_CLASSES_PIXELS = 0.7
"""Unnamed masks: the values of classes have at least this fraction of all pixels."""

MIN_SPAN, MAX_LABEL = 64, 128
"""Unnamed masks: classes with soft edges are at least `MIN_SPAN` apart. Values without gaps up to `MAX_LABEL` are class
indices."""


def has_soft_edges(kind: ValueKind, named: Collection[int], counts: MaskValueCounts) -> bool:
    """Return True if the values without a name are soft edges of those with a name.

    Args:
        kind: the type of value.
        named: the values that a list or the user has named.
        counts: the value counts of all masks.
    """
    pixels = counts.values(kind)
    unnamed = np.array([value for value in pixels if value not in named], np.int64)
    fraction = sum(pixels[int(value)] for value in unnamed) / max(counts.total_pixels, 1)
    if len(named) < 2 or len(unnamed) < MIN_FEW_SOFT_VALUES:
        return False
    if kind == "rgb":
        is_many = len(unnamed) >= MIN_SOFT_VALUES
        if is_many and fraction <= MAX_SOFT_COLOR_PIXELS:
            return True
        noise = MAX_NAMED_NOISE if is_many else MAX_UNNAMED_NOISE
        can_mix = len(named) <= MAX_MIXED_COLORS and (is_many or fraction <= MAX_FEW_SOFT_PIXELS)
        return can_mix and _are_mixtures(unnamed, named, noise, counts)
    keys = np.sort(np.array(list(named), np.int64))
    above = np.clip(np.searchsorted(keys, unnamed), 1, len(keys) - 1)
    is_inside = (unnamed >= keys[0] - MIN_GAP // 2) & (unnamed <= keys[-1] + MIN_GAP // 2)
    is_soft = bool((is_inside & (keys[above] - keys[above - 1] >= MIN_GAP)).all())
    return is_soft and (len(unnamed) >= MIN_SOFT_VALUES or fraction <= MAX_FEW_SOFT_PIXELS)


def describe_soft_edges(kind: ValueKind, named: Collection[int], counts: MaskValueCounts) -> str:
    """Return one line about values that stand for the nearest named value, for the user."""
    unnamed = {value: pixels for value, pixels in counts.values(kind).items() if value not in named}
    fraction = sum(unnamed.values()) / max(counts.total_pixels, 1)
    return f"soft edges: {len(unnamed)} other values ({fraction:.2%} of the pixels) count as the nearest named value"


def find_soft_classes(kind: ValueKind, counts: MaskValueCounts) -> list[int]:
    """Return the few values that are classes if all other values seem to be soft edges between them. Else [].

    Args:
        kind: the type of value.
        counts: the value counts of all masks. Nobody has named any value.
    """
    pixels = counts.values(kind)
    classes = _separate_values(kind, counts)
    others = [value for value in pixels if value not in classes]
    fraction = sum(pixels[value] for value in classes) / max(counts.total_pixels, 1)
    if (
        not 2 <= len(classes) <= MAX_SOFT_CLASSES
        or len(others) < max(6, 2 * len(classes))
        or fraction < MIN_CLASSES_PIXELS
    ):
        return []
    if kind == "rgb":
        return classes if _are_mixtures(np.array(others), classes, MAX_UNNAMED_NOISE, counts) else []
    is_label = max(pixels) < MAX_LABEL and len(pixels) > 0.9 * max(pixels)
    between = sum(classes[0] < value < classes[-1] for value in others)
    is_soft = classes[-1] - classes[0] >= MIN_SPAN and between >= 0.9 * len(others)
    return classes if is_soft and not is_label else []


def find_thin_edges(kind: ValueKind, masks: Sequence[MaskSource | None], counts: MaskValueCounts) -> list[int]:
    """Return the two values that are classes if the few others are thin edges, as of resized masks. Else [].

    A single value between two others is a class: trimaps have the value 128 around objects.

    Args:
        kind: the type of value.
        masks: the masks that were counted. A few are read if the counts suggest edges.
        counts: the value counts of all masks. Nobody has named any value.
    """
    pixels = counts.values(kind)
    classes = sorted(sorted(pixels, key=lambda value: pixels[value])[-2:])
    others = np.array([value for value in pixels if value not in classes])
    if not MIN_FEW_SOFT_VALUES <= len(others) <= MAX_THIN_VALUES:
        return []
    fraction = sum(pixels[int(value)] for value in others) / max(counts.total_pixels, 1)
    if kind == "rgb":
        is_between = _are_mixtures(others, classes, MAX_UNNAMED_NOISE, counts)
    else:
        is_between = bool((others > classes[0]).all() and (others < classes[1]).all())
        is_between &= classes[1] - classes[0] >= MIN_SPAN
    if not is_between or fraction > MAX_SOFT_COLOR_PIXELS:
        return []
    inner = measure_masks(masks, kind, lambda values: _inner_fraction(np.isin(values, others)))
    return classes if inner and float(np.mean(inner)) <= MAX_INNER else []


def _inner_fraction(region: np.ndarray) -> float:
    """Return the fraction of a region's pixels, (H, W) bool, whose eight neighbors are all in the region."""
    from scipy import ndimage  # takes 0.2 s, and most data sets do not need it

    return float(ndimage.binary_erosion(region, np.ones((3, 3))).sum() / max(region.sum(), 1))


def _separate_values(kind: ValueKind, counts: MaskValueCounts) -> list[int]:
    """Return the frequent values, sorted, without those that are near a more frequent one."""
    frequent = [(count, value) for value, count in counts.values(kind).items()]
    separate: list[int] = []
    for count, value in sorted(frequent, reverse=True):
        if count < MIN_CLASS_PIXELS * counts.total_pixels or len(separate) > MAX_SOFT_CLASSES:
            break
        near = np.array([value, *separate])
        channels = unpack_rgb(near) if kind == "rgb" else near[:, None]
        if (np.abs(channels[1:] - channels[0]).max(1) >= MIN_GAP).all():
            separate.append(value)
    return sorted(separate)


def _are_mixtures(colors: np.ndarray, classes: Collection[int], noise: int, counts: MaskValueCounts) -> bool:
    """Return True if nearly all pixels of these colors are close to the line between the colors of two classes.

    Args:
        colors: 0xRRGGBB.
        classes: the colors of the classes.
        noise: the largest distance from the line in any channel.
        counts: the value counts of all masks.
    """
    points, ends = unpack_rgb(colors).astype(float), unpack_rgb(list(classes)).astype(float)
    all_pixels = counts.values("rgb")
    pixels = np.array([all_pixels[int(color)] for color in colors])
    fits = np.zeros(len(points), bool)
    for first in range(len(ends)):
        for second in range(first + 1, len(ends)):
            line = ends[second] - ends[first]
            place = np.clip(((points - ends[first]) @ line) / (line @ line), 0, 1)
            fits |= np.abs(points - ends[first] - place[:, None] * line).max(1) <= noise
    return bool(pixels[fits].sum() >= MIN_MIXED_PIXELS * pixels.sum())


def soft_edge_fault(kind: ValueKind, classes: Sequence[int], counts: MaskValueCounts) -> str:
    """Return the text of an error for unnamed masks with soft edges, with the option that settles it."""
    names = ["foreground"] if len(classes) == 2 and 0 in classes else [f"CLASS{n}" for n in range(1, len(classes) + 1)]
    others = iter(names)
    pairs = " ".join(f"{format_value(value, kind)}={'background' if value == 0 else next(others)}" for value in classes)
    total = len(counts.values(kind))
    return (
        f"masks have {total} values, most of them in few pixels between {len(classes)} others, as soft edges have; set "
        f"`label_map` {pairs}, then each value counts as the nearest of these"
    )
