"""What the values in masks mean: worked out from all masks together, or settled by a person; never guessed silently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.naming import SETTLE, example, is_few, is_rare_value, name_values
from pixelwise.data.label_map.options import (
    MAX_CLASSES,
    LabelOptions,
    ResolvedLabels,
    apply_options,
    is_ignore_name,
    parse_value,
)
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX, default_palette

NOISE = 64
"""How far from 0 and 255 the values of a two-value mask may lie that was saved as JPEG or resized a little."""


COLOR_NOISE = 48
"""How far, in any channel, a JPEG's color may lie from the listed color that it stands for."""


def resolve_labels(layout: FormatResult, survey: MaskValueCounts, choices: LabelOptions) -> ResolvedLabels:
    """Work out what the masks of a layout mean.

    Args:
        layout: what the format knows: perhaps names, perhaps everything.
        survey: what the masks hold; not looked at where the layout or the choices settle the encoding.
        choices: what a person says about it.

    Raises DataError where masks could mean several things, which says what was found and how to settle it, and
    ConfigError for choices that do not fit.
    """
    if layout.label_map is not None and (layout.label_map.kind == "polygons" or layout.label_map.value_to_class):
        return apply_options(layout, choices)
    if not survey.masks:
        where = next((f"{record.mask}: " for record in layout.records), "")
        raise DataError(f"{where}cannot be read, and no other mask can")
    if layout.label_map is not None and layout.label_map.kind == "multilabel":
        said = {text: name for text, name in choices.label_map if text not in layout.classes}
        encoding, note = (
            _said_values(said, survey, choices.skip_unreadable) if said else _two_values(survey, "a class's own mask")
        )
        settled = replace(layout, label_map=LabelMap("multilabel", *encoding))
        renamed = tuple(pair for pair in choices.label_map if pair[0] in layout.classes)
        meaning = apply_options(settled, replace(choices, label_map=renamed))
        return replace(meaning, messages=(note, *meaning.messages))
    kind = _kind(survey, choices)
    if choices.label_map:
        return _mapped(kind, survey, choices)
    values = _values(kind, survey)
    ignored = {value for text in choices.ignore_values for value in _parse_values(text, kind, survey)}
    if kind != "rgb":
        noisy = _noisy_pair(values, survey) if not (layout.names_by_value or layout.class_names) else None
        if noisy is not None:
            return _named(kind, noisy, layout, survey, choices, ignored, tolerance=NOISE)
    elif survey.lossy or len(values) > MAX_CLASSES:
        return _noisy_colors(values, layout, survey, choices, ignored)
    return _named(kind, values, layout, survey, choices, ignored, tolerance=0)


def _kind(survey: MaskValueCounts, choices: LabelOptions) -> str:
    main, most = survey.masks.most_common(1)[0]
    if most == survey.masks.total() or (choices.skip_unreadable and is_few(survey.masks.total() - most, survey)):
        return main
    kinds = set(survey.masks)
    if kinds == {"index", "alpha"}:
        return "alpha"  # a mask that is empty or full has one opacity only
    grays = {gray * 0x010101 for gray in survey.pixels.get("index", {})}
    if kinds == {"index", "rgb"} and not survey.colors and grays <= set(survey.pixels["rgb"]):
        return "rgb"  # a mask with nothing but black, gray and white in it
    shown = ", ".join(f"{count} of {kind} (such as {example(survey, kind)})" for kind, count in survey.masks.items())
    raise DataError(f"masks are of several kinds: {shown}; save all in one way")


def _values(kind: str, survey: MaskValueCounts) -> dict[int, int]:
    """Value → pixels, over all masks; grays among colors as colors."""
    values = dict(survey.pixels.get(kind, {}))
    if kind == "rgb":
        for gray, pixels in survey.pixels.get("index", {}).items():
            values[gray * 0x010101] = values.get(gray * 0x010101, 0) + pixels
    return dict(sorted(values.items()))


def _parse_values(text: str, kind: str, survey: MaskValueCounts) -> list[int]:
    """The values that a person means: of masks with a palette, a color means the indices that it stands at."""
    if kind == "index" and text.startswith("#") and survey.colors:
        color = parse_value(text, "rgb")
        found = [index for index, colors in survey.colors.items() if color in colors]
        if not found:
            raise ConfigError(f"{text}: no mask has this color in its palette")
        return found
    return [parse_value(text, kind)]


def _noisy_pair(values: Mapping[int, int], survey: MaskValueCounts) -> dict[int, int] | None:
    """0 and 255 with their pixels, where all other values are noise around them; None where they are not noise."""
    if set(values) <= {0, 255}:
        return None
    near = all(value <= NOISE or 255 - NOISE <= value <= 255 for value in values)
    both = any(0 < value <= NOISE for value in values) and any(255 - NOISE <= value < 255 for value in values)
    if near and (both or survey.lossy) and max(values) > NOISE:
        low = sum(pixels for value, pixels in values.items() if value <= NOISE)
        return {0: low, 255: sum(values.values()) - low}
    if survey.lossy:
        raise DataError(
            f"{survey.lossy_example}: a mask saved as JPEG or lossy WebP, with more than noise around 0 and 255 "
            f"({len(values)} values in all masks together); save masks as PNG, or {SETTLE}"
        )
    return None


def _noisy_colors(
    values: Mapping[int, int], layout: FormatResult, survey: MaskValueCounts, choices: LabelOptions, ignored: set[int]
) -> ResolvedLabels:
    where = survey.lossy_example or example(survey, "rgb")
    if not layout.names_by_color:
        raise DataError(
            f"{where}: masks have {len(values)} colors together, as images or masks saved as JPEG do; save masks "
            f"as PNG, list the colors in a class_dict.csv (name,r,g,b), or {SETTLE}"
        )
    far = [value for value in values if _apart(value, layout.names_by_color) > COLOR_NOISE]
    if sum(values[value] for value in far) > 0:
        raise DataError(
            f"{where}: the color {format_value(far[0], 'colors')} is near none of the listed ones; {SETTLE}"
        )
    exact = dict.fromkeys(layout.names_by_color, 1)
    return _named("rgb", exact, layout, survey, choices, ignored, tolerance=COLOR_NOISE)


def _apart(color: int, others: Iterable[int]) -> int:
    """To the nearest of other colors, in the channel where they differ most."""
    return min(max(abs((color >> shift & 255) - (each >> shift & 255)) for shift in (0, 8, 16)) for each in others)


def _two_values(survey: MaskValueCounts, what: str) -> tuple[tuple[dict[int, int], int], str]:
    """The mapping and tolerance of masks that say absent or present, and a line that tells it."""
    values = _values("index", survey)
    if set(survey.masks) != {"index"}:
        raise DataError(f"{example(survey, next(iter(survey.masks)))}: {what} must be gray, with two values")
    if _noisy_pair(values, survey):
        return ({0: 0, 255: 1}, NOISE), "masks: about 0 → absent, about 255 → present"
    if len(values) == 3 and {0, 255} < set(values):
        middle = next(value for value in values if value not in (0, 255))
        return ({0: 0, middle: 1, 255: IGNORE_INDEX}, 0), f"masks: 0 → absent, {middle} → present, 255 → ignore"
    if len(values) != 2 or 0 not in values:
        shown = ", ".join(map(str, list(values)[:6]))
        raise DataError(f"{example(survey, 'values')}: {what} must hold 0 and one other value; found {shown}")
    present = max(values)
    return ({0: 0, present: 1}, 0), f"masks: 0 → absent, {present} → present"


_LAYER_VALUES = {"absent": 0, "present": 1, "ignore": IGNORE_INDEX}


def _said_values(
    said: Mapping[str, str], survey: MaskValueCounts, skip_unreadable: bool
) -> tuple[tuple[dict[int, int], int], str]:
    """`_two_values` where a person says it: value → absent, present or ignore."""
    for text, name in said.items():
        if name not in _LAYER_VALUES:
            raise ConfigError(
                f"--mask-map {text}={name}: there is one mask a class here; say VALUE=absent, VALUE=present or "
                "VALUE=ignore, or give a class another name by CLASS=NAME"
            )
    mapping = {parse_value(text, "index"): _LAYER_VALUES[name] for text, name in said.items()}
    _check_named(mapping, _values("index", survey), "index", survey, skip_unreadable)
    return (mapping, 127 if survey.lossy else 0), f"masks: {', '.join(f'{a} → {b}' for a, b in said.items())}"


def _check_named(
    named: Mapping[int, object], values: Mapping[int, int], kind: str, survey: MaskValueCounts, skip_unreadable: bool
) -> None:
    """Raise DataError for a value that --mask-map leaves out; those of lossy masks are near one that it names."""
    unknown = [value for value in values if value not in named]
    if unknown and not survey.lossy and not (skip_unreadable and is_rare_value(unknown, kind, survey)):
        where = survey.example.get(kind, {}).get(unknown[0], "a mask")
        shown = ", ".join(format_value(value, kind) for value in unknown[:8])
        raise DataError(
            f"{where}: has {shown}, which --mask-map does not name; add {format_value(unknown[0], kind)}=CLASS"
        )


def _named(
    kind: str, values: Mapping[int, int], layout: FormatResult, survey: MaskValueCounts, choices: LabelOptions,
    ignored: set[int],
    tolerance: int,
) -> ResolvedLabels:  # fmt: skip
    """The meaning of values that are exact: each is a class, or void."""
    strange = ignored - set(values)
    if strange:
        found = ", ".join(format_value(value, kind) for value in list(values)[:12])
        raise ConfigError(f"--ignore {format_value(min(strange), kind)}: no mask has this value; found {found}")
    names, void, why = name_values(kind, [value for value in values if value not in ignored], layout, survey, choices)
    void |= ignored
    if len(names) > MAX_CLASSES:
        raise DataError(f"{len(names)} classes are more than the {MAX_CLASSES} there may be")
    if len(names) < 2:
        only = ", ".join(format_value(value, kind) for value in values)
        raise DataError(
            f"{example(survey, next(iter(survey.masks)))}: masks hold nothing but {only}, which makes one class, "
            f"and there must be two at least; {SETTLE}"
        )
    order = list(dict.fromkeys(names.values()))
    mapping = {value: order.index(name) for value, name in names.items()} | dict.fromkeys(sorted(void), IGNORE_INDEX)
    about = "about " if tolerance else ""
    shown = [f"{about}{format_value(value, kind)} → {name}" for value, name in names.items()]
    shown += [f"{about}{format_value(value, kind)} → ignore" for value in sorted(void)]
    note = f"masks ({kind}): {', '.join(shown[:40])}{' …' if len(shown) > 40 else ''}"
    palette = _palette(kind, {name: value for value, name in reversed(names.items())}, order, survey)
    return ResolvedLabels(LabelMap(kind, mapping, tolerance), tuple(order), palette, (note, *why))  # type: ignore[arg-type]


def _mapped(kind: str, survey: MaskValueCounts, choices: LabelOptions) -> ResolvedLabels:
    """The meaning that --mask-map gives; every value must be in it, or near one of its values where masks are lossy."""
    pairs = (*choices.label_map, *((text, "ignore") for text in choices.ignore_values))
    wanted = {value: name for text, name in pairs for value in _parse_values(text, kind, survey)}
    # Values that were made by a JPEG, or by resizing, stand for the nearest one that is named.
    tolerance = 127 if survey.lossy else 0
    _check_named(wanted, _values(kind, survey), kind, survey, choices.skip_unreadable)
    names = {value: name for value, name in wanted.items() if not is_ignore_name(name)}
    order = list(dict.fromkeys(names.values()))
    if choices.classes:
        if sorted(choices.classes) != sorted(order):
            raise ConfigError(f"--classes and --mask-map name different classes: {', '.join(order)}")
        order = list(choices.classes)
    if not 2 <= len(order) <= MAX_CLASSES:
        raise ConfigError(f"--mask-map names {len(order)} classes; there must be 2 to {MAX_CLASSES}")
    mapping = {value: order.index(names[value]) if value in names else IGNORE_INDEX for value in wanted}
    shown = ", ".join(f"{format_value(value, kind)} → {name}" for value, name in wanted.items())
    palette = _palette(kind, {name: value for value, name in reversed(names.items())}, order, survey)
    return ResolvedLabels(LabelMap(kind, mapping, tolerance), tuple(order), palette, (f"masks ({kind}): {shown}",))  # type: ignore[arg-type]


def _palette(
    kind: str, value_of: Mapping[str, int], order: Sequence[str], survey: MaskValueCounts
) -> tuple[tuple[int, int, int], ...]:
    """The masks' own colors where they have some for every class, all different; else ours."""
    if kind == "rgb":
        found = [value_of[name] for name in order]
    elif kind == "index" and all(value_of[name] in survey.colors for name in order):
        found = [survey.colors[value_of[name]].most_common(1)[0][0] for name in order]
    else:
        return default_palette(len(order))
    if len(set(found)) < len(found) or all(color in (0, 0x010101, 0x020202) for color in found):
        return default_palette(len(order))
    return tuple((color >> 16, color >> 8 & 255, color & 255) for color in found)
