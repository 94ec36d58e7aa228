"""Class names for mask values: from a list in the data set, from the user, or made up; and the values to ignore."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.options import LabelOptions, is_ignore_name, select_classes
from pixelwise.data.label_map.value_counts import MaskValueCounts, ValueKind
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError

HOW_TO_SETTLE = "set `label_map` (VALUE=CLASS …), `classes` or `ignore_values`"
"""The fix for ambiguous masks, for messages."""

MAX_UNNAMED_VALUES = 100
"""Masks with more values and without a list of names are photographs, not masks."""

RARE_FRACTION = 0.05
"""Masks that differ from all others count as bad files if they are at most this fraction of all masks."""

_LIST = "the class list beside the masks"

_USUAL_IGNORE_VALUES: dict[ValueKind, set[int]] = {"index": {255, 65535}, "rgb": {0xE0E0C0}, "alpha": set()}
"""Values that mean "ignore" if a list of classes does not name them, as in Pascal VOC and Cityscapes."""


@dataclass(frozen=True)
class NamedValues:
    """Mask values with a class, and mask values to ignore.

    Attributes:
        names: value → class name, in class order.
        ignored: the values to ignore.
        message: the origin of the names, for the user. Empty if it is obvious.
    """

    names: dict[int, str]
    ignored: set[int]
    message: str = ""


def is_rare(mask_count: int, counts: MaskValueCounts) -> bool:
    """Return True if this many masks are few enough to be bad files. A single mask always is."""
    return mask_count <= max(1, RARE_FRACTION * counts.mask_counts.total())


def are_rare_values(values: Sequence[int], kind: ValueKind, counts: MaskValueCounts) -> bool:
    """Return True if the values are in few masks."""
    masks = counts.masks_with_value.get(kind, Counter())
    return is_rare(sum(masks[value] for value in values), counts)


def name_values(
    kind: ValueKind, values: Sequence[int], result: FormatResult, counts: MaskValueCounts, options: LabelOptions
) -> NamedValues:
    """Find a class name for each mask value.

    Args:
        kind: the type of value.
        values: the values in the masks, sorted, without those that the user ignores.
        result: the names that the format found, if any.
        counts: the value counts of all masks.
        options: the user's options.

    Raises:
        DataError: The names do not fit the values, or the values could be named in more than one way.
        ConfigError: `options.classes` names an unknown class.
    """
    listed = result.names_by_color if kind == "rgb" else result.names_by_value
    if kind == "index" and result.names_by_color and not listed:
        listed = _names_by_palette_index(values, result.names_by_color, counts)
    if listed:
        return _apply_value_list(kind, values, listed, counts, options)
    ordered = options.classes or result.class_names
    ignored = set() if kind == "rgb" else _values_to_ignore(kind, values, bool(ordered), counts)
    values = [value for value in values if value not in ignored]
    if ordered:
        names = _assign_in_order(kind, values, ordered, counts)
        ignored |= {value for value, name in names.items() if is_ignore_name(name)}
        names = {value: name for value, name in names.items() if value not in ignored}
        return NamedValues(names, ignored, "names: as given" if options.classes else f"names: from {_LIST}")
    return _make_up_names(kind, values, ignored, counts)


def _apply_value_list(
    kind: ValueKind, values: Sequence[int], listed: Mapping[int, str], counts: MaskValueCounts, options: LabelOptions
) -> NamedValues:
    """Name values by a list of value → name. Raise DataError for values that the list lacks."""
    unlisted = [value for value in values if value not in listed]
    ignored = {value for value, name in listed.items() if is_ignore_name(name)}
    if unlisted and set(unlisted) <= _USUAL_IGNORE_VALUES[kind]:
        ignored |= set(unlisted)
    elif unlisted and not (options.skip_unreadable and are_rare_values(unlisted, kind, counts)):
        shown = ", ".join(format_value(value, kind) for value in unlisted[:5])
        raise DataError(
            f"{counts.example(kind, unlisted[0])}: has {shown}, which {_LIST} does not name; {HOW_TO_SETTLE}"
        )
    names = {value: name for value, name in listed.items() if value not in ignored}
    if options.classes:
        names, unselected = select_classes(names, options.classes)
        ignored |= unselected
    return NamedValues(names, ignored, f"names: from {_LIST}")


def _make_up_names(kind: ValueKind, values: Sequence[int], ignored: set[int], counts: MaskValueCounts) -> NamedValues:
    if len(values) > MAX_UNNAMED_VALUES:
        example = counts.example(kind, values[len(values) // 2])
        raise DataError(f"{example}: masks have {len(values)} different values, like photographs; {HOW_TO_SETTLE}")
    if len(values) == 2 and values[0] == 0:
        return NamedValues({values[0]: "background", values[1]: "foreground"}, ignored)
    names = {value: _default_name(value, kind) for value in values}
    return NamedValues(
        names, ignored, "names: made up, because no list of class names was found; give names, or edit the plan"
    )


def _default_name(value: int, kind: ValueKind) -> str:
    if value == 0:
        return "background"
    return format_value(value, kind) if kind == "rgb" else f"class {value}"


def _names_by_palette_index(
    values: Sequence[int], names_by_color: Mapping[int, str], counts: MaskValueCounts
) -> dict[int, str]:
    """Return palette index → name of its color. Empty if masks have no palette or a color has no name."""
    names = {}
    for value in values:
        colors = counts.palette_colors.get(value)
        if colors is None:
            return {}
        if len(colors) > 1:
            shown = ", ".join(format_value(color, "rgb") for color in sorted(colors)[:3])
            raise DataError(
                f"{counts.example('index', value)}: palettes differ: {value} is {shown} in different masks; "
                "save the masks as RGB"
            )
        (color,) = colors
        if color not in names_by_color:
            return {}
        names[value] = names_by_color[color]
    return names


def _values_to_ignore(kind: ValueKind, values: Sequence[int], named: bool, counts: MaskValueCounts) -> set[int]:
    """Return {255} (or {65535}) if the other values are small class indices, else an empty set.

    Args:
        kind: the type of value.
        values: sorted.
        named: True if there are names for the values in order.
        counts: the value counts of all masks.
    """
    last = max(values, default=0)
    others = [value for value in values if value != last]
    if last not in (255, 65535) or not others or (len(others) == 1 and others[0] == 0):
        return set()
    if len(others) == 1 and not named:
        raise DataError(
            f"{counts.example(kind, last)}: masks have the values {others[0]} and {last}; {last} may be a class or "
            f"pixels to ignore; {HOW_TO_SETTLE}"
        )
    dense = max(others) < 64 or len(others) > 0.5 * (max(others) + 1)
    return {last} if dense else set()


def _assign_in_order(
    kind: ValueKind, values: Sequence[int], names: Sequence[str], counts: MaskValueCounts
) -> dict[int, str]:
    """Name values by index if all are class indices, else one name per value in order."""
    if kind != "rgb" and values and max(values) < len(names):
        return dict(enumerate(names))
    if len(values) == len(names):
        return dict(zip(values, names, strict=True))
    if kind != "rgb" and values and max(values) == len(names) and 0 in values:
        return {0: "background"} | dict(enumerate(names, start=1))
    shown = ", ".join(format_value(value, kind) for value in values[:20])
    raise DataError(
        f"{counts.any_example()}: {len(names)} names ({', '.join(names[:20])}) do not fit the "
        f"{len(values)} values in the masks ({shown}); set `label_map` (VALUE=CLASS …)"
    )
