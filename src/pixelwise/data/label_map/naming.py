"""Names for the values in masks: from a list beside them, from a person, or made up; and which values are void."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.options import LabelOptions, is_ignore_name, select_classes
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import FormatResult
from pixelwise.errors import DataError

MAX_UNNAMED = 100
"""More values than this, without a list of names, are taken for an image and not for a mask."""


_USUAL_VOID: dict[str, set[int]] = {"index": {255, 65535}, "rgb": {0xE0E0C0}, "alpha": set()}
"""Values that mean "ignore" wherever a list of classes leaves them out: VOC and Cityscapes began it."""


SETTLE = "settle it by --mask-map VALUE=CLASS …, --classes or --ignore"
"""How a person says what a value means, for messages."""


def example(survey: MaskValueCounts, kind: str) -> str:
    """A mask of that kind, for messages."""
    return min(survey.example[kind].values())


FEW = 0.05
"""Masks that are unlike all others may be left out as bad files where they are no more than this share of them."""


def is_few(masks: int, survey: MaskValueCounts) -> bool:
    """Whether so many masks are few enough to be bad files; one always is, where there are others."""
    return masks <= max(1, FEW * survey.masks.total())


def is_rare_value(values: Sequence[int], kind: str, survey: MaskValueCounts) -> bool:
    """Whether values are in few masks alone."""
    shown = survey.shown_in.get(kind, Counter())
    return is_few(sum(shown[value] for value in values), survey)


def name_values(
    kind: str, values: Sequence[int], layout: FormatResult, survey: MaskValueCounts, choices: LabelOptions
) -> tuple[dict[int, str], set[int], list[str]]:
    """Value → name, the values that are void, and lines that say where names come from."""
    listed = layout.names_by_color if kind == "rgb" else layout.names_by_value
    if kind == "index" and layout.names_by_color and not listed:
        listed = _by_palette(values, layout.names_by_color, survey)
    if listed:
        unknown = [value for value in values if value not in listed]
        if unknown and set(unknown) <= _USUAL_VOID[kind]:
            listed = {**listed, **dict.fromkeys(unknown, "void")}
        elif unknown and not (choices.skip_unreadable and is_rare_value(unknown, kind, survey)):
            where = survey.example.get(kind, {}).get(unknown[0], "a mask")
            shown = ", ".join(format_value(value, kind) for value in unknown[:5])
            raise DataError(f"{where}: has {shown}, which the list of classes beside the masks does not name; {SETTLE}")
        nameless = {value for value, name in listed.items() if is_ignore_name(name)}
        names = {value: name for value, name in listed.items() if value not in nameless}
        if choices.classes:
            names, gone = select_classes(names, choices.classes)
            nameless |= gone
        return names, nameless, ["names: from the list beside the masks"]
    given = choices.classes or layout.class_names
    void = set() if kind == "rgb" else _void_values(values, bool(given), survey)
    values = [value for value in values if value not in void]
    if given:
        named = _in_order(values, given, kind, survey)
        gone = {value for value, name in named.items() if is_ignore_name(name)}
        where = "--classes" if choices.classes else "the list beside the masks"
        kept = {value: name for value, name in named.items() if value not in gone}
        return kept, void | gone, [f"names: from {where}"]
    if len(values) > MAX_UNNAMED:
        where = survey.example[kind][values[len(values) // 2]]
        raise DataError(f"{where}: masks hold {len(values)} different values, as images do; {SETTLE}")
    if len(values) == 2 and values[0] == 0:
        return {values[0]: "background", values[1]: "foreground"}, void, []
    made = {value: _default_name(value, kind) for value in values}
    return made, void, ["names: no list of names was found; give them by --classes, or in the plan"]


def _default_name(value: int, kind: str) -> str:
    if value == 0:
        return "background"
    return format_value(value, kind) if kind == "rgb" else f"class {value}"


def _by_palette(values: Sequence[int], color_names: Mapping[int, str], survey: MaskValueCounts) -> dict[int, str]:
    """Palette index → the name of its color, where masks have a palette whose colors are listed."""
    found = {}
    for value in values:
        colors = survey.colors.get(value)
        if colors is None:
            return {}
        if len(colors) > 1:
            shown = ", ".join(format_value(color, "rgb") for color in sorted(colors)[:3])
            where = survey.example["index"][value]
            raise DataError(f"{where}: palettes differ: {value} is {shown} in different masks; save masks as RGB")
        (color,) = colors
        if color not in color_names:
            return {}
        found[value] = color_names[color]
    return found


def _void_values(values: Sequence[int], named: bool, survey: MaskValueCounts) -> set[int]:
    """255 (or 65535) where it stands beside small class indices, as the usual mark of "ignore"."""
    last = max(values, default=0)
    others = [value for value in values if value != last]
    if last not in (255, 65535) or not others or (len(others) == 1 and others[0] == 0):
        return set()
    if len(others) == 1 and not named:
        where = survey.example["index"].get(last, "a mask")
        raise DataError(f"{where}: masks hold {others[0]} and {last}: is {last} a class, or to be ignored? {SETTLE}")
    dense = max(others) < 64 or len(others) > 0.5 * (max(others) + 1)
    return {last} if dense else set()


def _in_order(values: Sequence[int], names: Sequence[str], kind: str, survey: MaskValueCounts) -> dict[int, str]:
    """Names for values: by index where all values are below their number, else one for one."""
    if kind != "rgb" and values and max(values) < len(names):
        return dict(enumerate(names))
    if len(values) == len(names):
        return dict(zip(values, names, strict=True))
    if kind != "rgb" and values and max(values) == len(names) and 0 in values:
        return {0: "background"} | dict(enumerate(names, start=1))
    shown = ", ".join(format_value(value, kind) for value in values[:20])
    raise DataError(
        f"{example(survey, next(iter(survey.masks)))}: {len(names)} names ({', '.join(names[:20])}) do not fit the "
        f"{len(values)} values in the masks ({shown}); settle it by --mask-map VALUE=CLASS …"
    )
