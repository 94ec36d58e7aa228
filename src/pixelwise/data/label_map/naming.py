"""Assignment of class names to mask values, and detection of values to ignore.

The names come from a list in the data set or from the user. If there are none, they are made up.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.options import LabelOptions, is_ignore_name, select_classes
from pixelwise.data.label_map.strays import find_strays
from pixelwise.data.label_map.value_counts import MaskValueCounts, gray_to_rgb
from pixelwise.data.schema import FormatResult
from pixelwise.errors import AmbiguousDataError, DataError

HOW_TO_SETTLE = "set `label_map` (VALUE=CLASS …), `classes` or `ignore_values`"
"""Advice for ambiguous masks, for error messages."""

MAX_UNNAMED_VALUES = 100
"""Maximum number of mask values without class names. Files with more values are photographs, not masks."""

RARE_FRACTION = 0.05
"""Maximum fraction of masks that count as bad files because their values differ from those of the other masks."""

_LIST = "the class list beside the masks"

_USUAL_IGNORE_VALUES: dict[ValueKind, set[int]] = {"index": {255, 65535}, "rgb": {0xE0E0C0}, "alpha": set()}
"""Values that mean "ignore" if they are not in the class list of the data set, as in Pascal VOC and Cityscapes."""


@dataclass(frozen=True)
class NamedValues:
    """The mask values that have a class, and those to ignore.

    Attributes:
        names: value → class name, in class order.
        ignored: the values to ignore.
        message: the origin of the names, for the user. Empty if it is obvious.
        strays: the subset of `ignored` whose values have too few pixels for a class, see `find_strays`.
    """

    names: dict[int, str]
    ignored: set[int]
    message: str = ""
    strays: frozenset[int] = frozenset()


def is_rare(mask_count: int, counts: MaskValueCounts) -> bool:
    """Return True if a number of masks is small enough that they can be bad files. This is always true of one mask.

    Args:
        mask_count: number of masks that differ from the others.
        counts: the value counts of all masks.
    """
    return mask_count <= max(1, RARE_FRACTION * counts.mask_counts.total())


def are_rare_values(values: Sequence[int], kind: ValueKind, counts: MaskValueCounts) -> bool:
    """Return True if so few masks have the values that these masks can be bad files, see `is_rare`.

    Args:
        values: mask values. A mask counts once for each of them that it has.
        kind: the type of the values.
        counts: the value counts of all masks.
    """
    masks = counts.masks_with_value.get(kind, Counter())
    return is_rare(sum(masks[value] for value in values), counts)


def list_names(kind: ValueKind, result: FormatResult, counts: MaskValueCounts) -> tuple[Mapping[int, str], str]:
    """Return the class names that the class list of the data set contains for the mask values.

    If the list has colors and the masks have indices, the names are found by the first of these rules that fits:

    1. The name of an index is that of its color in the palettes of the masks.
    2. The name of an index is that of the gray color with this value.
    3. The indices are row numbers of the list, from 0.

    Args:
        kind: the type of the mask values.
        result: the names that the format found.
        counts: the value counts of all masks.

    Returns:
        Value → class name, which is empty if there are no such names, and a message about the origin of the names.
    """
    if kind == "rgb":
        return result.names_by_color, f"names: from {_LIST}"
    if kind != "index" or result.names_by_value or not result.names_by_color:
        return result.names_by_value, f"names: from {_LIST}"
    if names := _names_by_palette_index(result.names_by_color, counts):
        return names, f"names: from {_LIST}, by the colors of the palettes"
    values = set(counts.values("index")) - _USUAL_IGNORE_VALUES["index"]
    indices = values - find_strays("index", values, counts)
    grays = {gray: name for color, name in result.names_by_color.items() if color == gray_to_rgb(gray := color & 0xFF)}
    if indices and set(counts.values("index")) <= set(grays):
        return grays, f"names: from {_LIST}, by its gray colors"
    if result.class_names or not indices or max(indices) >= len(result.names_by_color):
        return {}, ""
    return dict(enumerate(result.names_by_color.values())), f"names: from {_LIST} in its order, as masks have indices"


def name_values(
    kind: ValueKind,
    values: Sequence[int],
    listed: Mapping[int, str],
    class_names: Sequence[str],
    counts: MaskValueCounts,
    options: LabelOptions,
) -> NamedValues:
    """Find a class name for each mask value. Stray values without a name are ignored (see `find_strays`).

    Args:
        kind: the type of the mask values.
        values: the exact values in the masks, sorted, without those that the user ignores.
        listed: value → class name from the class list of the data set, see `list_names`.
        class_names: class names without values that the format found, in order. Can be empty.
        counts: the value counts of all masks.
        options: the user's options.

    Raises:
        DataError: The names do not fit the values, or the values could be named in more than one way.
        ConfigError: `options.classes` names an unknown class.
    """
    if listed:
        return _apply_value_list(kind, values, listed, counts, options)
    strays = find_strays(kind, values, counts)
    if ordered := options.classes or class_names:
        return _apply_ordered_names(kind, values, ordered, strays, counts, bool(options.classes))
    values = [value for value in values if value not in strays]
    ignored = set() if kind == "rgb" else _values_to_ignore(kind, values, False, counts)
    named = _make_up_names(kind, [value for value in values if value not in ignored], ignored, counts)
    return replace(named, ignored=named.ignored | strays, strays=frozenset(strays))


def _apply_ordered_names(
    kind: ValueKind,
    values: Sequence[int],
    ordered: Sequence[str],
    strays: set[int],
    counts: MaskValueCounts,
    by_user: bool,
) -> NamedValues:
    """Assign names to values in order. Stray values are ignored if the names fit only the other values."""
    ignored = set() if kind == "rgb" else _values_to_ignore(kind, values, True, counts)
    names = _assign_in_order(kind, [value for value in values if value not in ignored], ordered)
    if names is None and strays:
        values = [value for value in values if value not in strays]
        ignored = set() if kind == "rgb" else _values_to_ignore(kind, values, True, counts)
        names = _assign_in_order(kind, [value for value in values if value not in ignored], ordered)
    else:
        strays = set()
    if names is None:
        shown = ", ".join(format_value(value, kind) for value in values[:20])
        raise DataError(
            f"{counts.any_example()}: {len(ordered)} names ({', '.join(ordered[:20])}) do not fit the {len(values)} "
            f"values in the masks ({shown}); set `label_map` (VALUE=CLASS …), or `instances` if values are the numbers "
            "of objects"
        )
    ignored |= strays | {value for value, name in names.items() if is_ignore_name(name)}
    names = {value: name for value, name in names.items() if value not in ignored}
    return NamedValues(names, ignored, "names: as given" if by_user else f"names: from {_LIST}", frozenset(strays))


def _apply_value_list(
    kind: ValueKind, values: Sequence[int], listed: Mapping[int, str], counts: MaskValueCounts, options: LabelOptions
) -> NamedValues:
    """Assign the names of a class list, value → name.

    Values that are not in the list are ignored if they are stray or usual values for "ignore". Raise DataError for any
    other such value, except if its masks are to be skipped as bad files.
    """
    ignored = {value for value, name in listed.items() if is_ignore_name(name)}
    unlisted = [value for value in values if value not in listed]
    strays: set[int] = set()
    if unlisted and set(unlisted) <= _USUAL_IGNORE_VALUES[kind]:
        ignored |= set(unlisted)
    elif unlisted:
        strays = find_strays(kind, values, counts, listed)
        unlisted = [value for value in unlisted if value not in strays]
        ignored |= strays | (set(unlisted) & _USUAL_IGNORE_VALUES[kind])
        unlisted = [value for value in unlisted if value not in ignored]
        if unlisted and not (options.skip_unreadable and are_rare_values(unlisted, kind, counts)):
            shown = ", ".join(format_value(value, kind) for value in unlisted[:5])
            raise DataError(
                f"{counts.example(kind, unlisted[0])}: has {shown}, which {_LIST} does not name; {HOW_TO_SETTLE}"
            )
    names = {value: name for value, name in listed.items() if value not in ignored}
    if options.classes:
        names, unselected = select_classes(names, options.classes)
        ignored |= unselected
    return NamedValues(names, ignored, f"names: from {_LIST}", frozenset(strays))


def _make_up_names(kind: ValueKind, values: Sequence[int], ignored: set[int], counts: MaskValueCounts) -> NamedValues:
    if len(values) > MAX_UNNAMED_VALUES:
        example = counts.example(kind, values[len(values) // 2])
        raise DataError(
            f"{example}: masks have {len(values)} different values, like photographs; {HOW_TO_SETTLE}, or "
            "`instances` if values are the numbers of objects"
        )
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


def _names_by_palette_index(names_by_color: Mapping[int, str], counts: MaskValueCounts) -> dict[int, str]:
    """Return palette index → name of its color.

    An index whose color differs between masks has its most frequent color. The result is empty if the colors of at most
    half of the values have a name.
    """
    colors = {value: colors.most_common(1)[0][0] for value, colors in sorted(counts.palette_colors.items())}
    names = {value: names_by_color[color] for value, color in colors.items() if color in names_by_color}
    return names if 2 * len(names) > len(counts.values("index")) else {}


def _values_to_ignore(kind: ValueKind, values: Sequence[int], named: bool, counts: MaskValueCounts) -> set[int]:
    """Return {255} or {65535} if this is the largest value and the others are class indices, else an empty set.

    Args:
        kind: the type of the mask values.
        values: the values in the masks.
        named: True if there are class names for the values in order.
        counts: the value counts of all masks.

    Raises:
        DataError: There are no names and only one other value, which is not 0. So 255 or 65535 may be a class.
    """
    last = max(values, default=0)
    others = [value for value in values if value != last]
    if last not in (255, 65535) or not others or (len(others) == 1 and others[0] == 0):
        return set()
    if len(others) == 1 and not named:
        raise AmbiguousDataError(
            f"{counts.example(kind, last)}: masks have the values {others[0]} and {last}; {last} may be a class or "
            f"pixels to ignore; {HOW_TO_SETTLE}",
            [{"label_map": {format_value(others[0], kind): "background", format_value(last, kind): "foreground"}}],
        )
    dense = max(others) < 64 or len(others) > 0.5 * (max(others) + 1)
    return {last} if dense else set()


def _assign_in_order(kind: ValueKind, values: Sequence[int], names: Sequence[str]) -> dict[int, str] | None:
    """Return value → name by the first rule that fits, or None.

    1. All values are indices of `names`. Names of indices that no mask has are included.
    2. There are as many values as names. The values get the names in order.
    3. The values are indices from 0, and the names are those from 1 on. 0 is "background".
    """
    if kind != "rgb" and values and max(values) < len(names):
        return dict(enumerate(names))
    if len(values) == len(names):
        return dict(zip(values, names, strict=True))
    if kind != "rgb" and values and max(values) == len(names) and 0 in values:
        return {0: "background"} | dict(enumerate(names, start=1))
    return None
