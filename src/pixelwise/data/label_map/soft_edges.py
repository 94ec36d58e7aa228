"""Soft edges: masks with values between those of the classes, from resizing, soft brushes or mattes."""

from collections.abc import Collection, Sequence

import numpy as np

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.mask_sample import measure_masks
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import MaskSource
from pixelwise.errors import AmbiguousDataError
from pixelwise.palette import unpack_rgb

NEAREST = (1 << 16) - 1
"""Tolerance (see `LabelMap`) with which every value counts as the nearest named value."""

MIN_SOFT_VALUES = 16
"""At least this many unnamed values are soft edges, and not classes that the user forgot to name."""

MIN_FEW_SOFT_VALUES, MAX_FEW_SOFT_PIXELS = 3, 0.05
"""Fewer than `MIN_SOFT_VALUES` unnamed values are soft edges if there are at least `MIN_FEW_SOFT_VALUES`, with at most
the fraction `MAX_FEW_SOFT_PIXELS` of all pixels."""

MAX_SOFT_COLOR_PIXELS = 0.25
"""At least `MIN_SOFT_VALUES` unnamed colors are soft edges or noise if they have at most this fraction of all pixels,
or if they are mixtures. Thin edges also have at most this fraction."""

MAX_NAMED_NOISE, MAX_UNNAMED_NOISE, MIN_MIXED_PIXELS = 48, 8, 0.9
"""Colors are mixtures if the fraction `MIN_MIXED_PIXELS` of their pixels is close to the line between two class colors.

Close means a difference of at most `MAX_NAMED_NOISE` in each channel if classes are named and at least
`MIN_SOFT_VALUES` colors are not, else of at most `MAX_UNNAMED_NOISE`.
"""

MAX_MIXED_COLORS = 32
"""With more named classes, unnamed colors are not checked for mixtures, because the number of class pairs is large."""

MIN_GAP = 32
"""Minimum difference between the values of two classes with soft edges between them."""

MIN_CLASS_PIXELS = 0.02
"""Masks without named values: a value is only a class if it has at least this fraction of all pixels."""

MAX_THIN_VALUES, MAX_INNER = 12, 0.03
"""Masks without named values: up to `MAX_THIN_VALUES` values between two others can be thin edges, if at most the
fraction `MAX_INNER` of their pixels is not at a border."""

MAX_SOFT_CLASSES = 8
"""Masks without named values: with more classes, no value counts as a soft edge."""

MIN_CLASSES_PIXELS = 0.7
"""Masks without named values: the classes together have at least this fraction of all pixels."""

MIN_SPAN, MAX_LABEL = 64, 128
"""Masks without named values: with soft edges, the lowest and the highest class differ by at least `MIN_SPAN`. Values
below `MAX_LABEL` with almost no gaps between them are class indices."""


def has_soft_edges(kind: ValueKind, named: Collection[int], counts: MaskValueCounts) -> bool:
    """Return True if the unnamed values are soft edges between the named values.

    Args:
        kind: the type of value, see `LabelMap`.
        named: the values with a name from a class list or from the user.
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
    """Return a message for the user about the unnamed values, which count as the nearest named value.

    Args:
        kind: the type of value, see `LabelMap`.
        named: the values with a name.
        counts: the value counts of all masks.
    """
    unnamed = {value: pixels for value, pixels in counts.values(kind).items() if value not in named}
    fraction = sum(unnamed.values()) / max(counts.total_pixels, 1)
    return f"soft edges: {len(unnamed)} other values ({fraction:.2%} of the pixels) count as the nearest named value"


def find_soft_classes(kind: ValueKind, counts: MaskValueCounts) -> list[int]:
    """Return the values that are classes, if all other values seem to be soft edges between them.

    Args:
        kind: the type of value, see `LabelMap`.
        counts: the value counts of all masks. No value has a name.

    Returns:
        The 2 to `MAX_SOFT_CLASSES` classes, sorted. Empty if the other values do not seem to be soft edges.
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
    """Return the two values that are classes, if the few other values are thin edges, as in resized masks.

    Fewer than `MIN_FEW_SOFT_VALUES` values between two others are classes. Trimaps, for example, have the value 128
    around objects.

    Args:
        kind: the type of value, see `LabelMap`.
        masks: the masks that were counted. A few are read if the counts suggest edges.
        counts: the value counts of all masks. No value has a name.

    Returns:
        The two classes, sorted. Empty if the other values are not thin edges.
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
    from scipy import ndimage  # the import takes 0.2 s, and most data sets do not need it

    return float(ndimage.binary_erosion(region, np.ones((3, 3))).sum() / max(region.sum(), 1))


def _separate_values(kind: ValueKind, counts: MaskValueCounts) -> list[int]:
    """Return the frequent values that differ by at least `MIN_GAP` from all more frequent ones, sorted by value."""
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
        noise: the maximum difference from the line in any channel.
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


def soft_edge_question(
    kind: ValueKind, classes: Sequence[int], counts: MaskValueCounts, value: int
) -> AmbiguousDataError:
    """Return the error for masks with soft edges and without named values. It states the option to set.

    Args:
        kind: the type of value, see `LabelMap`.
        classes: the values that seem to be classes.
        counts: the value counts of all masks.
        value: the value of the mask that the message names.
    """
    names = ["foreground"] if len(classes) == 2 and 0 in classes else [f"CLASS{n}" for n in range(1, len(classes) + 1)]
    others = iter(names)
    pairs = {format_value(each, kind): "background" if each == 0 else next(others) for each in classes}
    total = len(counts.values(kind))
    text = " ".join(f"{value}={name}" for value, name in pairs.items())
    return AmbiguousDataError(
        f"{counts.example(kind, value)}: masks have {total} values, most of them in few pixels between {len(classes)} "
        f"others, as soft edges have; set `label_map` {text}, then each value counts as the nearest of these",
        [{"label_map": pairs}],
    )
