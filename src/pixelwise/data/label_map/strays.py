"""Stray values: values in so few pixels that they are faults of a drawing program and not classes."""

from collections.abc import Collection

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import DataIssue

RARE_PIXELS = 1e-4
"""A value in less than this fraction of all mask pixels is rare."""

MIN_MASKS = 10
"""With fewer masks, a value in a single mask can be a class of a small data set."""

MAX_LONE_PIXELS, MAX_LONE_FRACTION = 100, 0.01
"""A value in a single mask is stray up to this number of pixels, and up to this fraction of a mask."""

MAX_SPARSE_PIXELS, MAX_SPARSE_MASKS = 8, 0.1
"""A rare value is stray up to this mean number of pixels in the masks that have it, if these are one mask or at most
this fraction of all masks."""

MAX_SPECK_PIXELS, MIN_SPECKS = 4, 3
"""Rare values with at most this mean number of pixels are stray in up to half of all masks, if there are at least this
many such values: the colors of soft edges. A single one can be a class of tiny objects."""

MAX_SHOWN = 5
"""Number of stray values in a message."""


def find_strays(
    kind: ValueKind, values: Collection[int], counts: MaskValueCounts, named: Collection[int] = ()
) -> set[int]:
    """Return the values that are not classes, because they have too few pixels in too few masks.

    0 and black are never stray. Nothing is stray if fewer than two values would remain.

    Args:
        kind: the type of value.
        values: the values in the masks, without those to ignore.
        counts: the value counts of all masks.
        named: values that a list or the user has named. They are not stray.
    """
    pixels = counts.values(kind)
    strays, specks = set(), set()
    for value in values:
        if value == 0 or value in named or not pixels.get(value):
            continue
        masks = counts.masks(kind, value)
        if _is_lone(pixels[value], masks, counts) or _is_sparse(pixels[value], masks, counts):
            strays.add(value)
        elif _is_speck(pixels[value], masks, counts):
            specks.add(value)
    if len(specks) >= MIN_SPECKS:
        strays |= specks
    return strays if len(values) - len(strays) >= 2 else set()


def _is_lone(pixels: int, masks: int, counts: MaskValueCounts) -> bool:
    count = counts.mask_counts.total()
    largest = min(MAX_LONE_PIXELS, MAX_LONE_FRACTION * counts.total_pixels / count)
    return masks == 1 and count >= MIN_MASKS and pixels <= largest


def _is_sparse(pixels: int, masks: int, counts: MaskValueCounts) -> bool:
    few_masks = masks <= max(1, MAX_SPARSE_MASKS * counts.mask_counts.total())
    return few_masks and pixels <= MAX_SPARSE_PIXELS * masks and pixels < RARE_PIXELS * counts.total_pixels


def _is_speck(pixels: int, masks: int, counts: MaskValueCounts) -> bool:
    some_masks = masks <= counts.mask_counts.total() / 2
    return some_masks and pixels <= MAX_SPECK_PIXELS * masks and pixels < RARE_PIXELS * counts.total_pixels


def describe_strays(kind: ValueKind, strays: Collection[int], counts: MaskValueCounts) -> str:
    """Return one line about the stray values, for the user. Empty if there are none."""
    if not strays:
        return ""
    ordered, pixels = sorted(strays), counts.values(kind)
    shown = ", ".join(
        f"{format_value(value, kind)} in {_amount(pixels.get(value, 0), counts.masks(kind, value))}"
        for value in ordered[:MAX_SHOWN]
    )
    more = f" and {len(ordered) - MAX_SHOWN} more" if len(ordered) > MAX_SHOWN else ""
    example = format_value(ordered[0], kind)
    plural = "s" * (len(ordered) > 1)
    return (
        f"stray value{plural} {shown}{more}: ignored; set `ignore_values` {example}{' …' * (len(ordered) > 1)} to "
        "confirm this, or name every value by `label_map` to keep them as classes"
    )


def _amount(pixels: int, masks: int) -> str:
    return f"{masks} mask{'s' * (masks != 1)}, {pixels} pixel{'s' * (pixels != 1)}"


def stray_issues(
    kind: ValueKind, strays: Collection[int], classes: Collection[int], counts: MaskValueCounts
) -> tuple[DataIssue, ...]:
    """Return a warning for each stray value, and for each class that is rare or in one mask of many.

    Args:
        kind: the type of value.
        strays: values that are ignored because they are stray.
        classes: values that are classes and have no name from a list or from the user.
        counts: the value counts of all masks.
    """
    issues = []
    pixels, total = counts.values(kind), counts.mask_counts.total()
    for value in sorted(strays):
        text, amount = format_value(value, kind), _amount(pixels.get(value, 0), counts.masks(kind, value))
        message = f"stray value {text} in {amount}: it is ignored; set `ignore_values` {text}"
        issues.append(DataIssue("stray value", counts.example(kind, value), message, "warning"))
    for value in sorted(classes):
        is_rare = 0 < pixels.get(value, 0) < RARE_PIXELS * counts.total_pixels
        if value and (is_rare or (counts.masks(kind, value) == 1 and total >= MIN_MASKS)):
            text, masks = format_value(value, kind), counts.masks(kind, value)
            message = (
                f"value {text} is in {masks} of {total} masks, with {pixels.get(value, 0)} pixels in all: too few to "
                f"learn a class from; set `ignore_values` {text} if it is a fault"
            )
            issues.append(DataIssue("rare value", counts.example(kind, value), message, "warning"))
    return tuple(issues)
