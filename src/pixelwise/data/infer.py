"""What the levels in masks mean: worked out from all masks together, or settled by a person; never guessed silently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pixelwise.data.masks import level_text
from pixelwise.data.meaning import Choices, Meaning, chosen, is_void, keep_classes, parse_level
from pixelwise.data.records import IGNORE_INDEX, Layout, MaskEncoding
from pixelwise.data.survey import LevelSurvey
from pixelwise.errors import ConfigError, DataError
from pixelwise.visualize import default_palette

NOISE = 64
"""How far from 0 and 255 the levels of a two-level mask may lie that was saved as JPEG or resized a little."""

COLOUR_NOISE = 48
"""How far, in any channel, a JPEG's colour may lie from the listed colour that it stands for."""

MOST_CLASSES = 254
MOST_UNNAMED = 100
"""More levels than this, without a list of names, are taken for a photo and not for a mask."""

_SETTLE = "settle it by --mask-map LEVEL=CLASS …, --classes or --ignore"


def infer(layout: Layout, survey: LevelSurvey, choices: Choices) -> Meaning:
    """Work out what the masks of a layout mean.

    Args:
        layout: what the format knows: perhaps names, perhaps everything.
        survey: what the masks hold; not looked at where the layout or the choices settle the encoding.
        choices: what a person says about it.

    Raises DataError where masks could mean several things, which says what was found and how to settle it, and
    ConfigError for choices that do not fit.
    """
    if layout.encoding is not None and (layout.encoding.kind == "shapes" or layout.encoding.mapping):
        return chosen(layout, choices)
    if layout.encoding is not None and layout.encoding.kind == "layers":
        encoding, note = _two_levels(survey, "a class's own mask")
        settled = replace(layout, encoding=MaskEncoding("layers", *encoding))
        meaning = chosen(settled, replace(choices, mask_map=()))
        return replace(meaning, notes=(note, *meaning.notes))
    kind = _kind(survey)
    if choices.mask_map:
        return _mapped(kind, survey, choices)
    levels = _levels(kind, survey)
    ignored = {parse_level(text, kind) for text in choices.ignore}
    if kind != "colours":
        noisy = _noisy_pair(levels, survey) if not (layout.value_names or layout.listed) else None
        if noisy is not None:
            return _named(kind, noisy, layout, survey, choices, ignored, tolerance=NOISE)
    elif survey.lossy or len(levels) > MOST_CLASSES:
        return _noisy_colours(levels, layout, survey, choices, ignored)
    return _named(kind, levels, layout, survey, choices, ignored, tolerance=0)


# Which kind of levels


def _kind(survey: LevelSurvey) -> str:
    kinds = {kind for kind, count in survey.masks.items() if count}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {"values", "alpha"}:
        return "alpha"  # a mask that is empty or full has one opacity only
    if kinds == {"values", "colours"} and not survey.colours:
        return "colours"  # a mask with nothing but black, grey and white in it
    shown = ", ".join(f"{count} of {kind} (such as {_example(survey, kind)})" for kind, count in survey.masks.items())
    raise DataError(f"masks are of several kinds: {shown}; save all in one way")


def _example(survey: LevelSurvey, kind: str) -> str:
    return min(survey.example[kind].values())


def _levels(kind: str, survey: LevelSurvey) -> dict[int, int]:
    """Level → pixels, over all masks; greys among colours as colours."""
    levels = dict(survey.pixels.get(kind, {}))
    if kind == "colours":
        for grey, pixels in survey.pixels.get("values", {}).items():
            levels[grey * 0x010101] = levels.get(grey * 0x010101, 0) + pixels
    return dict(sorted(levels.items()))


# Noise


def _noisy_pair(levels: Mapping[int, int], survey: LevelSurvey) -> dict[int, int] | None:
    """0 and 255 with their pixels, where all other levels are noise around them; None where they are not noise."""
    if set(levels) <= {0, 255}:
        return None
    near = all(level <= NOISE or 255 - NOISE <= level <= 255 for level in levels)
    both = any(0 < level <= NOISE for level in levels) and any(255 - NOISE <= level < 255 for level in levels)
    if near and (both or survey.lossy) and max(levels) > NOISE:
        low = sum(pixels for level, pixels in levels.items() if level <= NOISE)
        return {0: low, 255: sum(levels.values()) - low}
    if survey.lossy:
        raise DataError(
            f"{survey.lossy_example}: a mask saved as JPEG or lossy WebP, with more than noise around 0 and 255 "
            f"({len(levels)} levels in all masks together); save masks as PNG, or {_SETTLE}"
        )
    return None


def _noisy_colours(
    levels: Mapping[int, int], layout: Layout, survey: LevelSurvey, choices: Choices, ignored: set[int]
) -> Meaning:
    example = survey.lossy_example or _example(survey, "colours")
    if not layout.colour_names:
        raise DataError(
            f"{example}: masks have {len(levels)} colours together, as photos or masks saved as JPEG do; save masks "
            f"as PNG, list the colours in a class_dict.csv (name,r,g,b), or {_SETTLE}"
        )
    far = [level for level in levels if _apart(level, layout.colour_names) > COLOUR_NOISE]
    if sum(levels[level] for level in far) > 0:
        raise DataError(
            f"{example}: the colour {level_text(far[0], 'colours')} is near none of the listed ones; {_SETTLE}"
        )
    exact = dict.fromkeys(layout.colour_names, 1)
    return _named("colours", exact, layout, survey, choices, ignored, tolerance=COLOUR_NOISE)


def _apart(colour: int, others: Iterable[int]) -> int:
    """To the nearest of other colours, in the channel where they differ most."""
    return min(max(abs((colour >> shift & 255) - (each >> shift & 255)) for shift in (0, 8, 16)) for each in others)


def _two_levels(survey: LevelSurvey, what: str) -> tuple[tuple[dict[int, int], int], str]:
    """The mapping and tolerance of masks that say absent or present, and a line that tells it."""
    levels = _levels("values", survey)
    if set(survey.masks) != {"values"}:
        raise DataError(f"{_example(survey, next(iter(survey.masks)))}: {what} must be grey, with two levels")
    if _noisy_pair(levels, survey):
        return ({0: 0, 255: 1}, NOISE), "masks: about 0 → absent, about 255 → present"
    if len(levels) == 3 and {0, 255} < set(levels):
        middle = next(level for level in levels if level not in (0, 255))
        return ({0: 0, middle: 1, 255: IGNORE_INDEX}, 0), f"masks: 0 → absent, {middle} → present, 255 → ignore"
    if len(levels) != 2 or 0 not in levels:
        shown = ", ".join(map(str, list(levels)[:6]))
        raise DataError(f"{_example(survey, 'values')}: {what} must hold 0 and one other level; found {shown}")
    present = max(levels)
    return ({0: 0, present: 1}, 0), f"masks: 0 → absent, {present} → present"


# Names


def _named(
    kind: str, levels: Mapping[int, int], layout: Layout, survey: LevelSurvey, choices: Choices, ignored: set[int],
    tolerance: int,
) -> Meaning:  # fmt: skip
    """The meaning of levels that are exact: each is a class, or void."""
    strange = ignored - set(levels)
    if strange:
        found = ", ".join(level_text(level, kind) for level in list(levels)[:12])
        raise ConfigError(f"--ignore {level_text(min(strange), kind)}: no mask has this level; found {found}")
    names, void, why = _names(kind, [level for level in levels if level not in ignored], layout, survey, choices)
    void |= ignored
    if len(names) > MOST_CLASSES:
        raise DataError(f"{len(names)} classes are more than the {MOST_CLASSES} there may be")
    if len(names) < 2:
        only = ", ".join(level_text(level, kind) for level in levels)
        raise DataError(
            f"{_example(survey, next(iter(survey.masks)))}: masks hold nothing but {only}, which makes one class, "
            f"and there must be two at least; {_SETTLE}"
        )
    order = list(dict.fromkeys(names.values()))
    mapping = {level: order.index(name) for level, name in names.items()} | dict.fromkeys(sorted(void), IGNORE_INDEX)
    about = "about " if tolerance else ""
    shown = [f"{about}{level_text(level, kind)} → {name}" for level, name in names.items()]
    shown += [f"{about}{level_text(level, kind)} → ignore" for level in sorted(void)]
    note = f"masks ({kind}): {', '.join(shown[:40])}{' …' if len(shown) > 40 else ''}"
    palette = _palette(kind, {name: level for level, name in reversed(names.items())}, order, survey)
    return Meaning(MaskEncoding(kind, mapping, tolerance), tuple(order), palette, (note, *why))  # type: ignore[arg-type]


def _names(
    kind: str, levels: Sequence[int], layout: Layout, survey: LevelSurvey, choices: Choices
) -> tuple[dict[int, str], set[int], list[str]]:
    """Level → name, the levels that are void, and lines that say where names come from."""
    listed = layout.colour_names if kind == "colours" else layout.value_names
    if kind == "values" and layout.colour_names and not listed:
        listed = _by_palette(levels, layout.colour_names, survey)
    if listed:
        unknown = [level for level in levels if level not in listed]
        if unknown:
            where = survey.example.get(kind, {}).get(unknown[0], "a mask")
            shown = ", ".join(level_text(level, kind) for level in unknown[:5])
            raise DataError(
                f"{where}: has {shown}, which the list of classes beside the masks does not name; {_SETTLE}"
            )
        nameless = {level for level, name in listed.items() if is_void(name)}
        names = {level: name for level, name in listed.items() if level not in nameless}
        if choices.classes:
            names, gone = keep_classes(names, choices.classes)
            nameless |= gone
        return names, nameless, ["names: from the list beside the masks"]
    given = choices.classes or layout.listed
    void = set() if kind == "colours" else _void_levels(levels, bool(given), survey)
    levels = [level for level in levels if level not in void]
    if given:
        named = _in_order(levels, given, kind, survey)
        gone = {level for level, name in named.items() if is_void(name)}
        where = "--classes" if choices.classes else "the list beside the masks"
        kept = {level: name for level, name in named.items() if level not in gone}
        return kept, void | gone, [f"names: from {where}"]
    if len(levels) > MOST_UNNAMED:
        where = survey.example[kind][levels[len(levels) // 2]]
        raise DataError(f"{where}: masks hold {len(levels)} different levels, as photos do; {_SETTLE}")
    if len(levels) == 2 and levels[0] == 0:
        return {levels[0]: "background", levels[1]: "foreground"}, void, []
    made = {level: _default_name(level, kind) for level in levels}
    return made, void, ["names: no list of names was found; give them by --classes, or in the plan"]


def _default_name(level: int, kind: str) -> str:
    if level == 0:
        return "background"
    return level_text(level, kind) if kind == "colours" else f"class {level}"


def _by_palette(levels: Sequence[int], colour_names: Mapping[int, str], survey: LevelSurvey) -> dict[int, str]:
    """Palette index → the name of its colour, where masks have a palette whose colours are listed."""
    found = {}
    for level in levels:
        colours = survey.colours.get(level)
        if colours is None:
            return {}
        if len(colours) > 1:
            shown = ", ".join(level_text(colour, "colours") for colour in sorted(colours)[:3])
            where = survey.example["values"][level]
            raise DataError(f"{where}: palettes differ: {level} is {shown} in different masks; save masks as RGB")
        (colour,) = colours
        if colour not in colour_names:
            return {}
        found[level] = colour_names[colour]
    return found


def _void_levels(levels: Sequence[int], named: bool, survey: LevelSurvey) -> set[int]:
    """255 (or 65535) where it stands beside small class indices, as the usual mark of "ignore"."""
    last = max(levels, default=0)
    others = [level for level in levels if level != last]
    if last not in (255, 65535) or not others or (len(others) == 1 and others[0] == 0):
        return set()
    if len(others) == 1 and not named:
        where = survey.example["values"].get(last, "a mask")
        raise DataError(f"{where}: masks hold {others[0]} and {last}: is {last} a class, or to be ignored? {_SETTLE}")
    dense = max(others) < 64 or len(others) > 0.5 * (max(others) + 1)
    return {last} if dense else set()


def _in_order(levels: Sequence[int], names: Sequence[str], kind: str, survey: LevelSurvey) -> dict[int, str]:
    """Names for levels: by index where all levels are below their number, else one for one."""
    if kind != "colours" and levels and max(levels) < len(names):
        return dict(enumerate(names))
    if len(levels) == len(names):
        return dict(zip(levels, names, strict=True))
    if kind != "colours" and levels and max(levels) == len(names) and 0 in levels:
        return {0: "background"} | dict(enumerate(names, start=1))
    shown = ", ".join(level_text(level, kind) for level in levels[:20])
    raise DataError(
        f"{_example(survey, next(iter(survey.masks)))}: {len(names)} names ({', '.join(names[:20])}) do not fit the "
        f"{len(levels)} levels in the masks ({shown}); settle it by --mask-map LEVEL=CLASS …"
    )


def _mapped(kind: str, survey: LevelSurvey, choices: Choices) -> Meaning:
    """The meaning that --mask-map gives; every level must be in it, or near one of its levels where masks are lossy."""
    wanted = {parse_level(text, kind): name for text, name in choices.mask_map}
    wanted |= {parse_level(text, kind): "ignore" for text in choices.ignore}
    # Levels that were made by a JPEG, or by resizing, stand for the nearest one that is named.
    tolerance = 127 if survey.lossy else 0
    levels = _levels(kind, survey)
    unknown = [level for level in levels if level not in wanted]
    if unknown and not tolerance:
        where = survey.example.get(kind, {}).get(unknown[0], "a mask")
        shown = ", ".join(level_text(level, kind) for level in unknown[:8])
        raise DataError(
            f"{where}: has {shown}, which --mask-map does not name; add {level_text(unknown[0], kind)}=CLASS"
        )
    names = {level: name for level, name in wanted.items() if not is_void(name)}
    order = list(dict.fromkeys(names.values()))
    if choices.classes:
        if sorted(choices.classes) != sorted(order):
            raise ConfigError(f"--classes and --mask-map name different classes: {', '.join(order)}")
        order = list(choices.classes)
    if not 2 <= len(order) <= MOST_CLASSES:
        raise ConfigError(f"--mask-map names {len(order)} classes; there must be 2 to {MOST_CLASSES}")
    mapping = {level: order.index(names[level]) if level in names else IGNORE_INDEX for level in wanted}
    shown = ", ".join(f"{level_text(level, kind)} → {name}" for level, name in wanted.items())
    palette = _palette(kind, {name: level for level, name in reversed(names.items())}, order, survey)
    return Meaning(MaskEncoding(kind, mapping, tolerance), tuple(order), palette, (f"masks ({kind}): {shown}",))  # type: ignore[arg-type]


def _palette(
    kind: str, level_of: Mapping[str, int], order: Sequence[str], survey: LevelSurvey
) -> tuple[tuple[int, int, int], ...]:
    """The masks' own colours where they have some for every class, all different; else ours."""
    if kind == "colours":
        found = [level_of[name] for name in order]
    elif kind == "values" and all(level_of[name] in survey.colours for name in order):
        found = [survey.colours[level_of[name]].most_common(1)[0][0] for name in order]
    else:
        return default_palette(len(order))
    if len(set(found)) < len(found) or all(colour in (0, 0x010101, 0x020202) for colour in found):
        return default_palette(len(order))
    return tuple((colour >> 16, colour >> 8 & 255, colour & 255) for colour in found)
