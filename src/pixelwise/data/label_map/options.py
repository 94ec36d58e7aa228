"""What a person, or a format, says about the meaning of masks; and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pixelwise.data.io.mask import format_value
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.errors import ConfigError, DataError, unknown_name
from pixelwise.palette import IGNORE_INDEX, default_palette

MAX_CLASSES = 254
"""A mask has 8 bits, and 255 is "ignore"."""


VOID_NAMES = frozenset(
    "void ignore ignored unlabelled unlabeled undefined unknown boundary dontcare don'tcare unclassified".split()  # noqa: SIM905
)
"""Names, without spaces, that say that a value is no class."""


@dataclass(frozen=True)
class LabelOptions:
    """What a person settles about a data set, where it would be ambiguous or another thing is wanted.

    Attributes:
        format: a name in FORMATS, or None to tell by the folder.
        classes: the classes' names. Where the data set names its classes: those to keep, the others becoming
            "background" where there is such a class, else "ignore". Elsewhere: names for the values found, in order.
        ignore_values: values to ignore, as written: "255", "#e0e0c0"; or names of classes.
        label_map: value as written (or, where the data set names its classes, a class) → class name, or "ignore":
            settles everything.
        skip_unreadable: leave out what cannot be used, with a note, instead of an error.
    """

    format: str | None = None
    classes: tuple[str, ...] = ()
    ignore_values: tuple[str, ...] = ()
    label_map: tuple[tuple[str, str], ...] = ()
    skip_unreadable: bool = False


@dataclass(frozen=True)
class ResolvedLabels:
    """What masks mean.

    Attributes:
        label_map: value → class index.
        classes: names in index order.
        palette: one (red, green, blue) in 0..255 a class.
        messages: lines that say what was worked out, and from what.
        source_to_class: of shapes and layers, whose files name classes: the index in the file's own order → class index here.
    """

    label_map: LabelMap
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    messages: tuple[str, ...] = ()
    source_to_class: tuple[int, ...] = ()


def apply_options(layout: FormatResult, choices: LabelOptions) -> ResolvedLabels:
    """The layout's own meaning, with the classes that a person chose."""
    assert layout.label_map is not None
    palette = layout.palette or default_palette(len(layout.classes))
    target: dict[int, str | None] = dict(enumerate(layout.classes))  # the layout's index → class, None to ignore
    for text, name in (*choices.label_map, *((text, "ignore") for text in choices.ignore_values)):
        for index in _sources(text, layout):
            target[index] = None if is_ignore_name(name) else name
    if (
        choices.classes
        and not set(choices.classes) & set(layout.classes)
        and len(choices.classes) == len(layout.classes)
    ):
        target = dict(enumerate(choices.classes))
    elif choices.classes:
        named = {index: name for index, name in target.items() if name is not None}
        kept, _ = select_classes(named, choices.classes)
        target = {index: kept.get(index) for index in target}
        order = list(dict.fromkeys(kept.values()))
    if not choices.classes or choices.classes == tuple(target.values()):
        order = list(dict.fromkeys(name for name in target.values() if name is not None))
    if len(order) < (1 if layout.label_map.kind == "multilabel" else 2):
        raise ConfigError(f"one class alone ({', '.join(order)}) cannot be told from anything; choose two at least")
    if layout.label_map.kind == "multilabel" and len(order) < len(
        [name for name in target.values() if name is not None]
    ):
        raise ConfigError("two classes that have a mask each cannot become one; ignore one of them, or merge the masks")
    if len(order) > MAX_CLASSES:
        raise DataError(f"{len(order)} classes are more than the {MAX_CLASSES} there may be; choose some by --classes")
    sources = tuple(order.index(name) if name is not None else IGNORE_INDEX for name in target.values())
    first = {name: index for index, name in reversed(target.items()) if name is not None}
    mapping = dict(layout.label_map.value_to_class)
    if layout.label_map.kind != "multilabel":
        mapping = {value: sources[each] if each != IGNORE_INDEX else each for value, each in mapping.items()}
    colors = tuple(palette[first[name]] for name in order)
    return ResolvedLabels(replace(layout.label_map, value_to_class=mapping), tuple(order), colors, (), sources)


def _sources(text: str, layout: FormatResult) -> list[int]:
    """The layout's classes that a word of --mask-map or --ignore is about: a class by name, or those of a value."""
    assert layout.label_map is not None
    if text in layout.classes:
        return [layout.classes.index(text)]
    if layout.label_map.kind in ("polygons", "multilabel"):
        raise ConfigError(unknown_name("class", text, layout.classes))
    value = parse_value(text, layout.label_map.kind)
    index = layout.label_map.value_to_class.get(value)
    if index is None or index == IGNORE_INDEX:
        known = [format_value(each, layout.label_map.kind) for each in layout.label_map.value_to_class]
        raise ConfigError(unknown_name("value", text, known))
    return [index]


def select_classes(names: Mapping[int, str], wanted: Sequence[str]) -> tuple[dict[int, str], set[int]]:
    """Of named values those of the wanted classes; the others are background, or void where there is none."""
    for name in wanted:
        if name not in names.values():
            raise ConfigError(unknown_name("class", name, dict.fromkeys(names.values())))
    rest = next((name for name in names.values() if name == "background"), None)
    order = list(wanted) if rest is None or rest in wanted else [rest, *wanted]
    kept = {value: name if name in order else rest for value, name in names.items()}
    named = {value: name for value, name in kept.items() if name is not None}
    return (
        dict(sorted(named.items(), key=lambda item: order.index(item[1]))),
        {value for value, name in kept.items() if name is None},
    )


def parse_value(text: str, kind: str) -> int:
    """A value as a person writes it."""
    try:
        return int(text.removeprefix("#"), 16) if kind == "rgb" or text.startswith("#") else int(text)
    except ValueError:
        example = "#ff0000" if kind == "rgb" else "255"
        raise ConfigError(f"'{text}' is no value of these masks; write it like {example}") from None


def is_ignore_name(name: str) -> bool:
    """Whether a name says that a value is no class, however it is spelt.

    >>> is_ignore_name("Dont-Care"), is_ignore_name("cat")
    (True, False)
    """
    return "".join(each for each in name.lower() if each not in " _-") in VOID_NAMES
