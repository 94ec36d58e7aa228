"""The classes of a data set, from the values in its masks, its class lists and the user's options.

Ambiguous masks raise an error that lists the options. Nothing is guessed silently.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from pixelwise.data.io.mask import format_value
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.label_map.instance_ids import check_class_times_1000
from pixelwise.data.label_map.instances import find_numbered_objects, resolve_instances
from pixelwise.data.label_map.multilabel import resolve_multilabel
from pixelwise.data.label_map.naming import HOW_TO_SETTLE, NamedValues, is_rare, list_names, name_values
from pixelwise.data.label_map.noise import LOSSY_TOLERANCE, check_all_named, remove_noise
from pixelwise.data.label_map.options import (
    IGNORE,
    MAX_CLASSES,
    LabelOptions,
    ResolvedLabels,
    apply_options,
    is_ignore_name,
    parse_value,
)
from pixelwise.data.label_map.orientation import settle_orientation
from pixelwise.data.label_map.palettes import settle_palettes
from pixelwise.data.label_map.soft_edges import (
    NEAREST,
    describe_soft_edges,
    find_thin_edges,
    has_soft_edges,
    soft_edge_question,
)
from pixelwise.data.label_map.strays import describe_strays, find_strays, stray_issues
from pixelwise.data.label_map.value_counts import MaskValueCounts, gray_to_rgb
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import AmbiguousDataError, ConfigError, DataError
from pixelwise.palette import IGNORE_INDEX, Palette, default_palette, unpack_rgb

MAX_VALUES_SHOWN = 40
"""Maximum number of values in a message that lists the label map."""


def resolve_labels(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    """Find the classes of a data set and the mask values of each class.

    Args:
        result: the result of the format. It may define the label map, or name some values.
        counts: the value counts of all masks. If the format defines the label map, only their orientations are used.
        options: the user's options.

    Returns:
        The classes, the label map, and messages for the user.

    Raises:
        DataError: The masks are ambiguous or cannot be read. The message names a mask, and the options that resolve the
            ambiguity.
        ConfigError: The options do not fit the masks.
    """
    labels = _resolve_values(result, counts, options)
    as_stored, message, issues = settle_orientation(counts)
    messages = (*labels.messages, *filter(None, [message]))
    return replace(labels, messages=messages, issues=(*labels.issues, *issues), masks_as_stored=as_stored)


def _resolve_values(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    if result.label_map is not None and (result.label_map.kind == "polygons" or result.label_map.value_to_class):
        return apply_options(result, options)
    if not counts.mask_counts:
        faults = [f"{record.mask}: cannot be read, and neither can any other mask" for record in result.records[:1]]
        faults += [f"{issue}; no other image can be used" for issue in result.issues if issue.severity == "error"]
        raise DataError(next(iter(faults), "there are no masks"))
    if result.label_map is not None and result.label_map.kind == "multilabel":
        return resolve_multilabel(result, counts, options)
    counts, message = settle_palettes(counts, options)
    kind = _common_kind(result, counts, options)
    if options.instances:
        ignored = _parse_ignored(kind, list(counts.values(kind)), counts, options)
        labels = resolve_instances(kind, ignored, counts, options)
    elif options.label_map:
        labels = _resolve_by_label_map(kind, counts, options)
    else:
        labels = _resolve_by_names(kind, result, counts, options)
    return replace(labels, messages=(*labels.messages, *filter(None, [message])))


def _common_kind(result: FormatResult, counts: MaskValueCounts, options: LabelOptions) -> ValueKind:
    """Return the type of value of all masks. Raise DataError if masks have different types that cannot be combined."""
    main, main_count = counts.mask_counts.most_common(1)[0]
    others = counts.mask_counts.total() - main_count
    grays = {gray_to_rgb(gray) for gray in counts.pixel_counts.get("index", {})}
    if not others or (options.skip_unreadable and is_rare(others, counts)):
        is_listed = main == "index" and result.names_by_color and not (result.names_by_value or counts.palette_colors)
        return "rgb" if is_listed and _are_listed_grays(result, counts) else main
    kinds = set(counts.mask_counts)
    if kinds == {"index", "alpha"}:
        return "alpha"  # an empty or full mask has the same opacity everywhere, so its type is "index"
    colors = {*counts.pixel_counts.get("rgb", ()), *result.names_by_color}
    if kinds == {"index", "rgb"} and not counts.palette_colors and grays <= colors:
        return "rgb"  # the gray masks contain only classes whose colors are black, gray or white
    shown = ", ".join(
        f"{count} of kind {kind} (for example {counts.example(kind)})" for kind, count in counts.mask_counts.items()
    )
    raise DataError(f"masks are of different kinds: {shown}; save all masks in the same way")


def _are_listed_grays(result: FormatResult, counts: MaskValueCounts) -> bool:
    """Return True if the values of gray masks are colors of the class list, except for noise."""
    listed = {color % 256 for color in result.names_by_color if color % 0x010101 == 0}
    values = counts.values("index")
    unlisted = set(values) - listed
    if max(values) > 255 or len(listed & set(values)) < min(2, len(values)):
        return False
    is_noise = bool(counts.lossy_count) or has_soft_edges("index", listed, counts)
    return not unlisted or is_noise or unlisted <= find_strays("index", values, counts, listed)


def _resolve_by_names(
    kind: ValueKind, result: FormatResult, counts: MaskValueCounts, options: LabelOptions
) -> ResolvedLabels:
    """Name the values by a list in the data set or by `classes`. Without these, generate names."""
    listed, origin = list_names(kind, result, counts)
    is_named = bool(listed or result.class_names or options.classes)
    if not is_named:
        values = list(counts.values(kind))
        if kind == "index":
            check_class_times_1000(values, counts)
        strays = find_strays(kind, values, counts)
        numbers = [value for value in values if value not in strays]
        if objects := find_numbered_objects(kind, numbers, result.records, counts):
            if objects.is_certain:
                ignored = _parse_ignored(kind, values, counts, options)
                return resolve_instances(kind, ignored, counts, options, objects.reason)
            raise AmbiguousDataError(
                f"{counts.example(kind)}: values can be classes or the numbers of objects ({objects.reason}); set "
                "`instances` if they are numbers, or name the classes by `classes` or `label_map`",
                [{"instances": True}],
            )
    values, tolerance, noise = remove_noise(kind, listed, is_named, counts)
    if not is_named and not tolerance:
        masks = [record.mask for record in result.records]
        if classes := find_thin_edges(kind, masks, counts):
            raise soft_edge_question(kind, classes, counts, values[len(values) // 2])
    ignored = _parse_ignored(kind, values, counts, options)
    values_left = [value for value in values if value not in ignored]
    named = name_values(kind, values_left, listed, result.class_names, counts, options)
    names = {value: name for value, name in named.names.items() if value not in ignored}
    message = origin if listed else named.message
    named = replace(named, names=names, ignored=named.ignored | ignored, message=message)
    _check_class_count(kind, values, named, counts, options)
    return _build_labels(kind, named, tolerance, counts, (noise,), {} if is_named else named.names)


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
    if options.unlabeled == IGNORE:
        if 0 not in values:
            raise ConfigError("`unlabeled`: no mask has the value 0; leave it out")
        ignored.add(0)
    if absent := ignored - set(values):
        present = ", ".join(format_value(value, kind) for value in values[:12])
        raise ConfigError(
            f"`ignore_values` {format_value(min(absent), kind)}: no mask has this value; the masks have {present}"
        )
    return ignored


def _check_class_count(
    kind: ValueKind, values: Sequence[int], named: NamedValues, counts: MaskValueCounts, options: LabelOptions
) -> None:
    if len(named.names) > MAX_CLASSES:
        raise DataError(f"{len(named.names)} classes are more than the maximum of {MAX_CLASSES}")
    if len(named.names) < 2:
        shown = ", ".join(format_value(value, kind) for value in values)
        unlabeled = " (without 0, which `unlabeled` ignores)" if options.unlabeled == IGNORE else ""
        raise DataError(
            f"{counts.any_example()}: masks have only {shown}, which makes one class, and at least two are needed"
            f"{unlabeled}; {HOW_TO_SETTLE}"
        )


def _resolve_by_label_map(kind: ValueKind, counts: MaskValueCounts, options: LabelOptions) -> ResolvedLabels:
    """Apply the label map of the user. Noisy values count as the nearest named value, and stray values are ignored."""
    all_names = {value: name for text, name in options.value_names for value in _parse_values(text, kind, counts)}
    if options.unlabeled == IGNORE:
        all_names[0] = IGNORE
    strays: set[int] = set()
    tolerance, noise = LOSSY_TOLERANCE if counts.lossy_count else 0, ""
    if not tolerance and has_soft_edges(kind, all_names, counts):
        tolerance, noise = NEAREST, describe_soft_edges(kind, all_names, counts)
    if not tolerance:
        strays = find_strays(kind, list(counts.values(kind)), counts, all_names)
        check_all_named(all_names | dict.fromkeys(strays, IGNORE), kind, counts, options)
    names = {value: name for value, name in all_names.items() if not is_ignore_name(name)}
    classes = list(dict.fromkeys(names.values()))
    if options.classes:
        if sorted(options.classes) != sorted(classes):
            raise ConfigError(f"`classes` and `label_map` name different classes: {', '.join(classes)}")
        names = dict(sorted(names.items(), key=lambda item: options.classes.index(item[1])))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise ConfigError(f"`label_map` names {len(classes)} classes; use 2 to {MAX_CLASSES}")
    named = NamedValues(names, (set(all_names) - set(names)) | strays, strays=frozenset(strays))
    return _build_labels(kind, named, tolerance, counts, (noise,))


def _build_labels(
    kind: ValueKind,
    named: NamedValues,
    tolerance: int,
    counts: MaskValueCounts,
    messages: Sequence[str] = (),
    unnamed: Collection[int] = (),
) -> ResolvedLabels:
    """Return the label map with classes numbered in the order of `named.names`.

    Args:
        kind: the type of value.
        named: the class name of each value, and the ignored values.
        tolerance: see `LabelMap`.
        counts: the value counts of all masks.
        messages: further messages for the user.
        unnamed: values that neither a list nor the user has named. Used for warnings about stray values.
    """
    classes = list(dict.fromkeys(named.names.values()))
    value_to_class = {value: classes.index(name) for value, name in named.names.items()}
    value_to_class |= dict.fromkeys(sorted(named.ignored), IGNORE_INDEX)
    about = "about " if tolerance else ""
    shown = [f"{about}{format_value(value, kind)} → {named.names.get(value, IGNORE)}" for value in value_to_class]
    more = " …" if len(shown) > MAX_VALUES_SHOWN else ""
    lines = [f"masks ({kind}): {', '.join(shown[:MAX_VALUES_SHOWN])}{more}", named.message, *messages]
    lines.append(describe_strays(kind, named.strays, counts))
    first_value = {name: value for value, name in reversed(named.names.items())}
    palette = _choose_palette(kind, [first_value[name] for name in classes], counts)
    return ResolvedLabels(
        label_map=LabelMap(kind, value_to_class, tolerance),
        classes=tuple(classes),
        palette=palette,
        messages=tuple(filter(None, lines)),
        issues=stray_issues(kind, named.strays, [] if tolerance else unnamed, counts),
    )


def _choose_palette(kind: ValueKind, values: Sequence[int], counts: MaskValueCounts) -> Palette:
    """Return one color per class from the colors or palettes of the masks.

    Return the default palette if the masks have no colors, or the same color for several classes.
    """
    if kind == "rgb":
        colors = list(values)
    elif kind == "index" and all(value in counts.palette_colors for value in values):
        colors = [counts.palette_colors[value].most_common(1)[0][0] for value in values]
    else:
        return default_palette(len(values))
    # A palette of 0x000000, 0x010101, … repeats the class indices and is not made for display.
    if len(set(colors)) < len(colors) or all(color in (0, 0x010101, 0x020202) for color in colors):
        return default_palette(len(values))
    return tuple((red, green, blue) for red, green, blue in unpack_rgb(colors).tolist())
