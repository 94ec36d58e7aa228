"""Flags for the format of a data set and the meaning of its mask values."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from pixelwise.cli.components import LIST_FLAG, OPEN_CHOICE, open_choice
from pixelwise.cli.flags import flag_of, flag_words
from pixelwise.cli.setting_flags import read_names
from pixelwise.errors import ConfigError

if TYPE_CHECKING:
    from pixelwise.data.label_map.options import LabelOptions

# The modules of the data are imported when a flag is used, because numpy and the formats take longer than the help.

_MASKS = Group("Masks", sort_key=-1)

_FORMATS = read_names("formats")

if TYPE_CHECKING:
    _FormatName = str
else:
    _FormatName = open_choice(_FORMATS)


def _mask_flag(text: str) -> Parameter:
    return Parameter(help=text, group=_MASKS, **LIST_FLAG)


@Parameter(name="*")
@dataclass(frozen=True)
class DataFlags:
    """Flags for the format of a data set and the meaning of its mask values."""

    format: Annotated[
        _FormatName | None,
        Parameter(
            help=f"Format of DATA: {', '.join(_FORMATS)}. [default: detected]",
            group=_MASKS,
            **LIST_FLAG,
            **OPEN_CHOICE,
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...],
        _mask_flag("Names for the mask values, in order. If DATA names its classes: the classes to keep."),
    ] = ()
    ignore_values: Annotated[tuple[str, ...], _mask_flag("Mask values to ignore: 255, or #e0e0c0.")] = ()
    label_map: Annotated[
        tuple[str, ...],
        _mask_flag(
            "Class of each mask value: 0=background 255=cat #ff0000=dog 7=ignore. With several data sets, NAME:255=cat "
            "is for the data set NAME only."
        ),
    ] = ()
    instances: Annotated[
        bool,
        Parameter(
            help="Mask values are the numbers of objects: 0 is background, all others are one class.",
            group=_MASKS,
            negative=(),
        ),
    ] = False
    unlabeled: Annotated[
        Literal["background", "ignore"],
        Parameter(
            help="Meaning of the value 0, or of pixels outside all polygons: background, or ignore if only a part of "
            "each image is labeled.",
            group=_MASKS,
        ),
    ] = "background"
    line_width: Annotated[
        float | None,
        Parameter(
            help="Width in pixels of lines in annotation files (labelme, CVAT, VIA, Supervisely). [default: left out]",
            group=_MASKS,
        ),
    ] = None
    mask_files: Annotated[
        str | None,
        Parameter(
            help="Mask files, if several could be the mask of an image: a pattern like '*/1st_manual/*' or '*_a.png'. "
            "[default: found]",
            group=_MASKS,
        ),
    ] = None
    nodata: Annotated[
        float | None,
        Parameter(
            help="Pixel value of the images that stands for no data, such as -9999. Such pixels are ignored. [default: "
            "the tag GDAL_NODATA of TIFF files, NaN and infinity]",
            group=_MASKS,
        ),
    ] = None
    allow_outside: Annotated[
        bool,
        Parameter(
            help="Read files outside the directory, and servers with private addresses, that a table or list names.",
            group=_MASKS,
            negative=(),
        ),
    ] = False

    def label_options(self, skip_unreadable: bool = False) -> "LabelOptions":
        """Convert the flags to options of the library. A list can also be one word with commas.

        Args:
            skip_unreadable: see `LabelOptions`.

        Returns:
            The options.

        Raises:
            ConfigError: A word of --label-map is not VALUE=CLASS.
        """
        from pixelwise.data.label_map.options import LabelOptions

        pairs = []
        for text in _split_words(self.label_map):
            value, equals, name = text.partition("=")
            if not (equals and value.strip() and name.strip()):
                raise ConfigError(
                    f"--label-map: '{text}' is not VALUE=CLASS; write 0=background 255=cat, or #ff0000=dog"
                )
            pairs.append((value.strip(), name.strip()))
        return LabelOptions(
            format=self.format,
            classes=_split_words(self.classes),
            ignore_values=_split_words(self.ignore_values),
            label_map=tuple(pairs),
            skip_unreadable=skip_unreadable,
            instances=self.instances,
            unlabeled=self.unlabeled,
            line_width=self.line_width,
            allow_outside=self.allow_outside,
            mask_files=self.mask_files,
            nodata=self.nodata,
        )


def mask_words(masks: DataFlags) -> list[str]:
    """Return the flags that differ from their defaults, with their values, as words of a command.

    >>> mask_words(DataFlags(label_map=("0=background", "255=cat"), instances=True))
    ['--label-map', '0=background', '255=cat', '--instances']
    """
    given = [(field.name, getattr(masks, field.name)) for field in fields(masks)]
    defaults = DataFlags()
    changed = [(name, value) for name, value in given if value != getattr(defaults, name)]
    return [word for name, value in changed for word in flag_words(flag_of(name), value)]


def options_by_set(options: "LabelOptions", roots: Sequence[str]) -> "list[LabelOptions]":
    """Return the options for each of several data sets.

    A value of --label-map, --classes or --ignore-values that begins with NAME: applies only to the data set NAME. All
    other options apply to each.

    Args:
        options: the options for all data sets.
        roots: the data sets. `dataset_names` returns their names.

    Returns:
        One item per data set, in the order of `roots`. Its values have no prefix.

    >>> from pixelwise.data.label_map.options import LabelOptions
    >>> pairs = (("0", "background"), ("cats:255", "cat"), ("dogs:255", "dog"))
    >>> [dict(each.label_map) for each in options_by_set(LabelOptions(label_map=pairs), ["my/cats", "my/dogs"])]
    [{'0': 'background', '255': 'cat'}, {'0': 'background', '255': 'dog'}]
    """
    from pixelwise.data.join import dataset_names

    prefixes = [f"{name}:" for name in dataset_names(roots)]

    def own(text: str, prefix: str) -> str | None:
        """Return a value without its prefix, or None if the value is for another data set."""
        if text.startswith(prefix):
            return text.removeprefix(prefix)
        return None if text.startswith(tuple(prefixes)) else text

    return [
        replace(
            options,
            classes=tuple(each for text in options.classes if (each := own(text, prefix)) is not None),
            ignore_values=tuple(each for text in options.ignore_values if (each := own(text, prefix)) is not None),
            label_map=tuple((each, new) for text, new in options.label_map if (each := own(text, prefix)) is not None),
        )
        for prefix in prefixes
    ]


def _split_words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
