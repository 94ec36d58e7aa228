"""Stray values: values with so few pixels that they are artifacts of a drawing program, not classes."""

from collections.abc import Collection

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import DataIssue

RARE_PIXELS = 1e-4
"""A value in less than this fraction of all mask pixels is rare."""

MIN_MASKS = 10
"""Minimum number of masks to judge a value that is in a single mask. It can be a class of a smaller data set."""

MAX_LONE_PIXELS, MAX_LONE_FRACTION = 100, 0.01
"""Maximum size of a stray value in a single mask: number of pixels, and fraction of the mean mask size."""

MAX_SPARSE_PIXELS, MAX_SPARSE_MASKS = 8, 0.1
"""Maximum size of a rare value that is stray: mean number of pixels per mask that contains it, and fraction of all
masks that contain it. The second limit does not apply to a value in a single mask."""

MAX_SPECK_PIXELS, MIN_SPECKS = 4, 3
"""Limits for the colors of soft edges, which are rare values in at most half of all masks: maximum mean number of
pixels per mask that contains the value, and minimum number of such values. A single one can be a class of tiny
objects."""

MAX_SHOWN = 5
"""Maximum number of stray values listed in a message."""


def find_strays(
    kind: ValueKind, values: Collection[int], counts: MaskValueCounts, named: Collection[int] = ()
) -> set[int]:
    """Return the values that have too few pixels in too few masks to be classes.

    0 and black are never stray. Nothing is stray if fewer than two values would remain.

    Args:
        kind: the type of value.
        values: the values in the masks, without ignored ones.
        counts: the value counts of all masks.
        named: values with a name from a list or from the user. They are never stray.
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
    """Describe the stray values for the user.

    Args:
        kind: the type of value.
        strays: the stray values.
        counts: the value counts of all masks.

    Returns:
        One line. Empty if there are no stray values.
    """
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
    """Return a warning for each stray value, and for each class that is rare or in a single mask.

    A class in a single mask gets a warning only if there are at least `MIN_MASKS` masks.

    Args:
        kind: the type of value.
        strays: the stray values, which are ignored.
        classes: values of classes without a name from a list or from the user. 0 gets no warning.
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
