"""The classes of a data set, from the values in its masks, its class lists and the user's options.

Ambiguous masks raise an error that lists the options. Nothing is guessed silently.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pixelwise.data.io.mask import format_value
from pixelwise.data.label_map.naming import HOW_TO_SETTLE, NamedValues, are_rare_values, is_rare, name_values
from pixelwise.data.label_map.options import (
    IGNORE,
    MAX_CLASSES,
    LabelOptions,
    ResolvedLabels,
    apply_options,
    is_ignore_name,
    parse_value,
)
from pixelwise.data.label_map.value_counts import MaskValueCounts, ValueKind, gray_to_rgb
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX, Palette, default_palette, unpack_rgb

MAX_NOISE = 64
"""Distance from 0 and 255, up to which values of a two-value mask are noise from JPEG compression or resizing."""

MAX_COLOR_NOISE = 48
"""Distance, in any channel, up to which a color of a lossy mask stands for a listed color."""

LOSSY_TOLERANCE = 127
"""Tolerance for lossy masks whose values the user has named: each value stands for the nearest named one."""

MAX_VALUES_SHOWN = 40
"""Number of values in a message that lists the label map."""


def resolve_labels(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    """Find the classes of a data set and the mask values that they have.

    Args:
        result: the format's result: it may define the label map, name some values, or neither.
        counts: the value counts of all masks. Not used if the format defines the label map.
        options: the user's options.

    Raises:
        DataError: The masks are ambiguous or cannot be read. The message names a mask and the options that settle it.
        ConfigError: The options do not fit the masks.
    """
    if result.label_map is not None and (result.label_map.kind == "polygons" or result.label_map.value_to_class):
        return apply_options(result, options)
    if not counts.mask_counts:
        file = next((f"{record.mask}: " for record in result.records), "")
        raise DataError(f"{file}cannot be read, and neither can any other mask")
    if result.label_map is not None and result.label_map.kind == "multilabel":
        return _resolve_multilabel(result, counts, options)
    kind = _common_kind(counts, options)
    if options.label_map:
        return _resolve_by_label_map(kind, counts, options)
    values, tolerance = _without_noise(kind, result, counts)
    ignored = _parse_ignored(kind, values, counts, options)
    named = name_values(kind, [value for value in values if value not in ignored], result, counts, options)
    named = replace(named, ignored=named.ignored | ignored)
    _check_class_count(kind, values, named, counts)
    return _build_labels(kind, named, tolerance, counts)


def _common_kind(counts: MaskValueCounts, options: LabelOptions) -> ValueKind:
    """Return the type of value of all masks. Raise DataError if masks differ and no type covers all."""
    main, main_count = counts.mask_counts.most_common(1)[0]
    others = counts.mask_counts.total() - main_count
    if not others or (options.skip_unreadable and is_rare(others, counts)):
        return main
    kinds = set(counts.mask_counts)
    if kinds == {"index", "alpha"}:
        return "alpha"  # a mask that is empty or full has a single opacity
    grays = {gray_to_rgb(gray) for gray in counts.pixel_counts.get("index", {})}
    if kinds == {"index", "rgb"} and not counts.palette_colors and grays <= set(counts.pixel_counts["rgb"]):
        return "rgb"  # the gray masks have only those classes whose colors are black, gray or white
    shown = ", ".join(
        f"{count} of kind {kind} (for example {counts.example(kind)})" for kind, count in counts.mask_counts.items()
    )
    raise DataError(f"masks are of different kinds: {shown}; save all masks in the same way")


def _without_noise(kind: ValueKind, result: FormatResult, counts: MaskValueCounts) -> tuple[list[int], int]:
    """Return the exact values of all masks, sorted, and the tolerance for noisy values around them."""
    values = list(counts.values(kind))
    if kind != "rgb":
        listed = result.names_by_value or result.class_names
        return ([0, 255], MAX_NOISE) if not listed and _is_noisy_pair(values, counts) else (values, 0)
    if not counts.lossy_count and len(values) <= MAX_CLASSES:
        return values, 0
    example = counts.lossy_example or counts.example("rgb")
    if not result.names_by_color:
        raise DataError(
            f"{example}: masks have {len(values)} colors in all, like photographs or masks saved as JPEG; save masks "
            f"as PNG, list the colors in a class_dict.csv (name,r,g,b), or {HOW_TO_SETTLE}"
        )
    far = np.flatnonzero(_color_distances(values, result.names_by_color) > MAX_COLOR_NOISE)
    if len(far):
        color = format_value(values[far[0]], "rgb")
        raise DataError(f"{example}: the color {color} is not near any listed color; {HOW_TO_SETTLE}")
    return list(result.names_by_color), MAX_COLOR_NOISE


def _is_noisy_pair(values: Sequence[int], counts: MaskValueCounts) -> bool:
    """Return True if the values are 0 and 255 with noise. Raise DataError for lossy masks with more than noise."""
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
    """Return the distance of each color to the nearest listed one, (N,), in the channel that differs most."""
    channels = unpack_rgb(colors)
    return np.min([np.abs(channels - unpack_rgb(color)).max(-1) for color in listed], axis=0)


def _parse_values(text: str, kind: ValueKind, counts: MaskValueCounts) -> list[int]:
    """Return the mask values of an option's key. A color stands for the palette indices that have it."""
    if kind == "index" and text.startswith("#") and counts.palette_colors:
        color = parse_value(text, "rgb")
        indices = [index for index, colors in counts.palette_colors.items() if color in colors]
        if not indices:
            raise ConfigError(f"{text}: no mask has this color in its palette")
        return indices
    return [parse_value(text, kind)]


def _parse_ignored(kind: ValueKind, values: Sequence[int], counts: MaskValueCounts, options: LabelOptions) -> set[int]:
    ignored = {value for text in options.ignore_values for value in _parse_values(text, kind, counts)}
    if absent := ignored - set(values):
        present = ", ".join(format_value(value, kind) for value in values[:12])
        raise ConfigError(
            f"`ignore_values` {format_value(min(absent), kind)}: no mask has this value; the masks have {present}"
        )
    return ignored


def _check_class_count(kind: ValueKind, values: Sequence[int], named: NamedValues, counts: MaskValueCounts) -> None:
    if len(named.names) > MAX_CLASSES:
        raise DataError(f"{len(named.names)} classes are more than the maximum of {MAX_CLASSES}")
    if len(named.names) < 2:
        shown = ", ".join(format_value(value, kind) for value in values)
        raise DataError(
            f"{counts.any_example()}: masks have only {shown}, which makes one class, and at least two are needed; "
            f"{HOW_TO_SETTLE}"
        )


def _resolve_by_label_map(kind: ValueKind, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    """Apply a label map that names every value. In lossy masks, values near a named one count as that one."""
    all_names = {value: name for text, name in options.value_names for value in _parse_values(text, kind, counts)}
    _check_all_named(all_names, kind, counts, options)
    names = {value: name for value, name in all_names.items() if not is_ignore_name(name)}
    classes = list(dict.fromkeys(names.values()))
    if options.classes:
        if sorted(options.classes) != sorted(classes):
            raise ConfigError(f"`classes` and `label_map` name different classes: {', '.join(classes)}")
        names = dict(sorted(names.items(), key=lambda item: options.classes.index(item[1])))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise ConfigError(f"`label_map` names {len(classes)} classes; use 2 to {MAX_CLASSES}")
    named = NamedValues(names, set(all_names) - set(names))
    return _build_labels(kind, named, LOSSY_TOLERANCE if counts.lossy_count else 0, counts)


def _check_all_named(
    named: Mapping[int, object], kind: ValueKind, counts: MaskValueCounts, options: LabelOptions
) -> None:
    """Raise DataError for a mask value that `label_map` lacks. Lossy masks may have any value."""
    unnamed = [value for value in counts.values(kind) if value not in named]
    if not unnamed or counts.lossy_count or (options.skip_unreadable and are_rare_values(unnamed, kind, counts)):
        return
    shown = ", ".join(format_value(value, kind) for value in unnamed[:8])
    raise DataError(
        f"{counts.example(kind, unnamed[0])}: has {shown}, which `label_map` does not name; "
        f"add {format_value(unnamed[0], kind)}=CLASS"
    )


def _build_labels(kind: ValueKind, named: NamedValues, tolerance: int, counts: MaskValueCounts) -> ResolvedLabels:
    """Number the classes in the order of their names."""
    classes = list(dict.fromkeys(named.names.values()))
    value_to_class = {value: classes.index(name) for value, name in named.names.items()}
    value_to_class |= dict.fromkeys(sorted(named.ignored), IGNORE_INDEX)
    about = "about " if tolerance else ""
    shown = [f"{about}{format_value(value, kind)} → {named.names.get(value, IGNORE)}" for value in value_to_class]
    more = " …" if len(shown) > MAX_VALUES_SHOWN else ""
    messages = [f"masks ({kind}): {', '.join(shown[:MAX_VALUES_SHOWN])}{more}", named.message]
    first_value = {name: value for value, name in reversed(named.names.items())}
    palette = _choose_palette(kind, [first_value[name] for name in classes], counts)
    return ResolvedLabels(
        LabelMap(kind, value_to_class, tolerance), tuple(classes), palette, tuple(filter(None, messages))
    )


def _choose_palette(kind: ValueKind, values: Sequence[int], counts: MaskValueCounts) -> Palette:
    """Return the colors that the masks have for one value per class, or the default palette if they do not differ."""
    if kind == "rgb":
        colors = list(values)
    elif kind == "index" and all(value in counts.palette_colors for value in values):
        colors = [counts.palette_colors[value].most_common(1)[0][0] for value in values]
    else:
        return default_palette(len(values))
    # A palette of 0x000000, 0x010101, … repeats the class indices and is not meant to be seen.
    if len(set(colors)) < len(colors) or all(color in (0, 0x010101, 0x020202) for color in colors):
        return default_palette(len(values))
    return tuple((red, green, blue) for red, green, blue in unpack_rgb(colors).tolist())


# --- Multi-label masks: one file per class, with a value for "absent" and a value for "present".

_STATES = {"absent": 0, "present": 1, IGNORE: IGNORE_INDEX}


def _resolve_multilabel(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    states = {text: name for text, name in options.label_map if text not in result.classes}
    new_names = tuple((text, name) for text, name in options.label_map if text in result.classes)
    if states:
        label_map, message = _parse_states(states, counts, options)
    else:
        label_map, message = _infer_states(counts)
    labels = apply_options(replace(result, label_map=label_map), replace(options, label_map=new_names))
    return replace(labels, messages=(message, *labels.messages))


def _parse_states(states: Mapping[str, str], counts: MaskValueCounts, options: LabelOptions) -> tuple[LabelMap, str]:
    """Return the label map of pairs (value, "absent", "present" or "ignore"), and a message."""
    for text, name in states.items():
        if name not in _STATES:
            raise ConfigError(
                f"`label_map` {text}={name}: these masks have one file per class; use VALUE=absent, VALUE=present or "
                "VALUE=ignore, or rename a class by CLASS=NAME"
            )
    value_to_class = {parse_value(text, "index"): _STATES[name] for text, name in states.items()}
    _check_all_named(value_to_class, "index", counts, options)
    shown = ", ".join(f"{text} → {name}" for text, name in states.items())
    return LabelMap("multilabel", value_to_class, LOSSY_TOLERANCE if counts.lossy_count else 0), f"masks: {shown}"


def _infer_states(counts: MaskValueCounts) -> tuple[LabelMap, str]:
    """Return the label map of masks with two values (and 255 to ignore), and a message."""
    if set(counts.mask_counts) != {"index"}:
        raise DataError(f"{counts.any_example()}: the mask file of a single class must be gray, with two values")
    values = list(counts.values("index"))
    if _is_noisy_pair(values, counts):
        return LabelMap("multilabel", {0: 0, 255: 1}, MAX_NOISE), "masks: about 0 → absent, about 255 → present"
    if len(values) == 3 and {0, 255} < set(values):
        middle = values[1]
        value_to_class = {0: 0, middle: 1, 255: IGNORE_INDEX}
        return LabelMap("multilabel", value_to_class), f"masks: 0 → absent, {middle} → present, 255 → ignore"
    if len(values) != 2 or 0 not in values:
        shown = ", ".join(map(str, values[:6]))
        raise DataError(
            f"{counts.example('index')}: the mask file of a single class must have 0 and one other value; "
            f"the masks have {shown}"
        )
    present = max(values)
    return LabelMap("multilabel", {0: 0, present: 1}), f"masks: 0 → absent, {present} → present"
