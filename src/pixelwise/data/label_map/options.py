"""User options about mask classes, and their application to formats that define the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pixelwise.data.io.mask import format_value
from pixelwise.data.schema import DataIssue, FormatResult, LabelMap
from pixelwise.errors import ConfigError, DataError, unknown_name
from pixelwise.palette import IGNORE_INDEX, default_palette

MAX_CLASSES = 254
"""Maximum number of classes. Class indices are stored in 8 bits, and 255 is "ignore"."""

Unlabeled = Literal["background", "ignore"]

IGNORE = "ignore"
"""The class name that marks a value to ignore in options."""

_IGNORE_NAMES = frozenset(
    {
        IGNORE, "void", "ignored", "unlabelled", "unlabeled", "undefined", "unknown", "boundary", "dontcare",
        "don'tcare", "unclassified",
    }
)  # fmt: skip


@dataclass(frozen=True)
class LabelOptions:
    """User options about the classes of a data set.

    Attributes:
        format: name of the format, a key of `FORMATS`. None detects the format.
        classes: if the data set names its classes, the names of the classes to keep. The other classes become
            "background" if there is such a class, else they are ignored. If the data set does not name its classes,
            names for the values in the masks, in order.
        ignore_values: mask values to ignore, as text ("255", "#e0e0c0"), or class names.
        label_map: pairs (old, new). The first is a mask value as text or a class name, the second the new class name,
            or "ignore" for pixels to ignore. If the format does not define the classes, the pairs must contain every
            value in the masks except stray values.
        skip_unreadable: leave out files that cannot be used instead of raising an error.
        instances: True if mask values are the numbers of objects. 0 is then the background, and every other value the
            class "foreground".
        unlabeled: the meaning of pixels with value 0: the class "background", or unlabeled pixels to ignore.
        line_width: width in pixels of lines that annotation files give without a width. None leaves lines out.
        allow_outside: allow tables and lists to refer to files outside the data directory.
        mask_files: a glob pattern for the paths of the mask files below the data directory, if several files could be
            the mask of an image. "*" also stands for "/". None finds the masks.
        nodata: a value of the images' pixels that stands for no data, besides those that their files state, or None.
    """

    format: str | None = None
    classes: tuple[str, ...] = ()
    ignore_values: tuple[str, ...] = ()
    label_map: tuple[tuple[str, str], ...] = ()
    skip_unreadable: bool = False
    instances: bool = False
    unlabeled: Unlabeled = "background"
    line_width: float | None = None
    allow_outside: bool = False
    mask_files: str | None = None
    nodata: float | None = None

    def access_only(self) -> "LabelOptions":
        """Return options with only `skip_unreadable` and `allow_outside`, which do not change how masks are read."""
        return LabelOptions(skip_unreadable=self.skip_unreadable, allow_outside=self.allow_outside)

    @property
    def value_names(self) -> tuple[tuple[str, str], ...]:
        """The pairs of `label_map`, then a pair (value, "ignore") for each item of `ignore_values`."""
        return (*self.label_map, *((text, IGNORE) for text in self.ignore_values))


@dataclass(frozen=True)
class ResolvedLabels:
    """The classes of a data set and their values in the masks.

    Attributes:
        label_map: mask value → class index.
        classes: class names in index order.
        palette: one (red, green, blue) in [0, 255] per class.
        messages: one line per decision, for the user.
        source_to_class: for annotations and multi-label masks, the new class index (or 255 for "ignore") of each class
            index in the data set's files. Empty if the indices do not change.
        issues: warnings about values, for example stray ones.
        masks_as_stored: see `ReadSpec`.
    """

    label_map: LabelMap
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    messages: tuple[str, ...] = ()
    source_to_class: tuple[int, ...] = ()
    issues: tuple[DataIssue, ...] = ()
    masks_as_stored: bool = False


def apply_options(result: FormatResult, options: LabelOptions) -> ResolvedLabels:
    """Apply the user's options to classes that the format defines.

    Args:
        result: a format result with a label map.
        options: the user's options. `classes` selects classes. It renames the classes in order if it has the same
            number of names as the format and shares none with it.

    Returns:
        The classes and the label map after selecting, renaming, merging and ignoring classes.

    Raises:
        ConfigError: An option names an unknown class or value, or too few classes are left.
        DataError: There are more than `MAX_CLASSES` classes.
    """
    assert result.label_map is not None
    if options.instances:
        raise ConfigError(
            "`instances` is for masks whose values are the numbers of objects, but this format defines its "
            "classes; leave it out, or set `format` folders"
        )
    names = _class_names(result, options)
    classes = _class_order(names, options.classes)
    _check_classes(names, classes, result.label_map.kind)
    source_to_class = tuple(IGNORE_INDEX if name is None else classes.index(name) for name in names.values())
    value_to_class = dict(result.label_map.value_to_class)
    if result.label_map.kind != "multilabel":
        value_to_class = {
            value: index if index == IGNORE_INDEX else source_to_class[index] for value, index in value_to_class.items()
        }
    palette = result.palette or default_palette(len(result.classes))
    first_source = {name: index for index, name in reversed(names.items())}
    return ResolvedLabels(
        label_map=replace(result.label_map, value_to_class=value_to_class),
        classes=tuple(classes),
        palette=tuple(palette[first_source[name]] for name in classes),
        source_to_class=source_to_class,
    )


def _class_names(result: FormatResult, options: LabelOptions) -> dict[int, str | None]:
    """Map each class index of the format to the new class name, or to None if the class is ignored."""
    renamed = len(options.classes) == len(result.classes) and not set(options.classes) & set(result.classes)
    names: dict[int, str | None] = dict(enumerate(options.classes if renamed else result.classes))
    for text, name in options.value_names:
        names[_source_index(text, result)] = None if is_ignore_name(name) else name
    if options.unlabeled == IGNORE and not _ignores_zero(result):
        if "background" not in result.classes:
            raise ConfigError(
                "`unlabeled`: the format has no class 'background'; name the class to ignore by `ignore_values`"
            )
        names[result.classes.index("background")] = None
    if options.classes and not renamed:
        named = {index: name for index, name in names.items() if name is not None}
        selected, _ = select_classes(named, options.classes)
        return {index: selected.get(index) for index in names}
    return names


def _ignores_zero(result: FormatResult) -> bool:
    """Return True if the format already ignores the value 0."""
    return result.label_map is not None and result.label_map.value_to_class.get(0) == IGNORE_INDEX


def _class_order(names: Mapping[int, str | None], requested: Sequence[str]) -> list[str]:
    """Return the class names in index order. Names that are not in `requested`, such as "background", come first."""
    present = [name for name in dict.fromkeys(names.values()) if name is not None]
    return [name for name in present if name not in requested] + [name for name in requested if name in present]


def _check_classes(names: Mapping[int, str | None], classes: Sequence[str], kind: str) -> None:
    if len(classes) < (1 if kind == "multilabel" else 2):
        left = f"only one class is left ({classes[0]})" if classes else "no class is left"
        raise ConfigError(f"{left}; choose at least {'one' if kind == 'multilabel' else 'two'}")
    if kind == "multilabel" and len(classes) < sum(name is not None for name in names.values()):
        raise ConfigError("two classes with a mask file each cannot become one; ignore one of them, or merge the files")
    if len(classes) > MAX_CLASSES:
        raise DataError(f"{len(classes)} classes are more than the maximum of {MAX_CLASSES}; select some by `classes`")


def _source_index(text: str, result: FormatResult) -> int:
    """Return the format's index of a class that an option gives by its name or by its mask value."""
    assert result.label_map is not None
    kind, value_to_class = result.label_map.kind, result.label_map.value_to_class
    if text in result.classes:
        return result.classes.index(text)
    if kind in ("polygons", "multilabel"):
        raise ConfigError(unknown_name("class", text, result.classes))
    index = value_to_class.get(parse_value(text, kind))
    if index is None or index == IGNORE_INDEX:
        raise ConfigError(unknown_name("value", text, [format_value(value, kind) for value in value_to_class]))
    return index


def select_classes(names: Mapping[int, str], classes: Sequence[str]) -> tuple[dict[int, str], set[int]]:
    """Select some classes. The others become "background" if there is such a class, else they are ignored.

    Args:
        names: mask value or class index → class name.
        classes: the names to keep.

    Returns:
        A pair. The first maps each value with a class to the class name, in the order of `classes`. If "background" is
        not in `classes`, its values come first. The second has the values to ignore.

    Raises:
        ConfigError: One of `classes` is not in `names`.

    >>> select_classes({0: "background", 1: "cat", 2: "dog"}, ["cat"])
    ({0: 'background', 2: 'background', 1: 'cat'}, set())
    """
    for name in classes:
        if name not in names.values():
            raise ConfigError(unknown_name("class", name, dict.fromkeys(names.values())))
    fallback = "background" if "background" in names.values() else None
    order = list(classes) if fallback is None or fallback in classes else [fallback, *classes]
    new_names = {value: name if name in order else fallback for value, name in names.items()}
    kept = {value: name for value, name in new_names.items() if name is not None}
    ignored = {value for value, name in new_names.items() if name is None}
    return dict(sorted(kept.items(), key=lambda item: order.index(item[1]))), ignored


def parse_value(text: str, kind: str) -> int:
    """Parse a mask value.

    Args:
        text: a decimal number, or a color like "#ff0000".
        kind: the type of value, see `LabelMap`.

    Returns:
        The value. A color is 0xRRGGBB, or the gray value of a gray color if `kind` is not "rgb".

    Raises:
        ConfigError: The text is not a possible mask value of this type.

    >>> parse_value("#ff0000", "rgb") == 0xFF0000
    True
    """
    try:
        value = int(text.removeprefix("#"), 16) if kind == "rgb" or text.startswith("#") else int(text)
        if text.startswith("#") and kind != "rgb":  # a gray value that is written as a color
            value = value % 256 if len(text) == 7 and value == value % 256 * 0x010101 else -1
    except ValueError:
        value = -1
    if not 0 <= value <= (0xFFFFFF if kind == "rgb" else 0xFFFF):
        example = "#ff0000" if kind == "rgb" else "255"
        raise ConfigError(f"'{text}' is not a value of these masks; write it like {example}")
    return value


def is_ignore_name(name: str) -> bool:
    """Return True if a class name marks pixels to ignore. Case, spaces, hyphens and underscores do not matter.

    >>> is_ignore_name("Dont-Care"), is_ignore_name("cat")
    (True, False)
    """
    return "".join(letter for letter in name.lower() if letter not in " _-") in _IGNORE_NAMES
