"""Flags for the format of a data set and the meaning of its mask values."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from pixelwise.cli.components import LIST_FLAG
from pixelwise.data.formats import FORMATS
from pixelwise.data.label_map.options import LabelOptions, Unlabeled
from pixelwise.errors import ConfigError

_MASKS = Group("Masks", sort_key=-1)


def _mask_flag(text: str) -> Parameter:
    return Parameter(help=text, group=_MASKS, **LIST_FLAG)


@Parameter(name="*")
@dataclass(frozen=True)
class DataFlags:
    """Flags for the format of a data set and the meaning of its mask values."""

    format: Annotated[str | None, _mask_flag(f"Format of DATA: {', '.join(FORMATS)}. [default: detected]")] = None
    classes: Annotated[
        tuple[str, ...],
        _mask_flag("Names for the mask values, in order. If DATA names its classes: the classes to keep."),
    ] = ()
    ignore_values: Annotated[tuple[str, ...], _mask_flag("Mask values to ignore: 255, or #e0e0c0.")] = ()
    label_map: Annotated[
        tuple[str, ...], _mask_flag("Class of each mask value: 0=background 255=cat #ff0000=dog 7=ignore.")
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
        Unlabeled,
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

    allow_outside: Annotated[
        bool,
        Parameter(
            help="Read files outside the directory, and servers with private addresses, that a table or list names.",
            group=_MASKS,
            negative=(),
        ),
    ] = False

    def label_options(self, skip_unreadable: bool = False) -> LabelOptions:
        """Convert the flags to options of the library. A list can also be one word with commas.

        Args:
            skip_unreadable: see `LabelOptions`.

        Returns:
            The options.

        Raises:
            ConfigError: A word of --label-map is not VALUE=CLASS.
        """
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
        )


def _split_words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
