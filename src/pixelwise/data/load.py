"""From a folder to a data set: its format, and what its masks mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from upath import UPath

from pixelwise.data.formats import detect_format
from pixelwise.data.io.image import count_channels
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import MaskValueCounts, count_mask_values
from pixelwise.data.schema import (
    Annotation,
    DataIssue,
    DatasetIndex,
    FormatResult,
    MaskSource,
    MultilabelMask,
    PolygonMask,
    ReadSpec,
    Record,
)
from pixelwise.errors import DataError, first_line, printable
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.progress import Progress, no_progress


def load_dataset(
    root: str | Path,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore_values: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    skip_unreadable: bool = False,
    progress: Progress = no_progress,
) -> DatasetIndex:
    """Find out what lies in a folder: classes, how masks are encoded, and the records of each split.

    Where the format does not settle what masks mean, all of them are looked at.

    Args:
        root: a folder, a table or JSON file that lists a data set, or any fsspec URL of what `pixelwise pack` wrote.
        format: a name in FORMATS, or None to tell by what is there.
        classes, ignore_values, label_map, skip_unreadable: see `LabelOptions`.
        progress: see `Progress`; called where masks are looked at.

    Raises DataError for a folder that is not there or of no known format, images without masks (unless `skip_unreadable`),
    and masks that can be read in more ways than one; ConfigError for choices that do not fit.

    >>> load_dataset("oxford-iiit-pet/").classes  # doctest: +SKIP
    ('pet', 'background', 'border')
    """
    return load(
        root, LabelOptions(format, tuple(classes), tuple(ignore_values), tuple((label_map or {}).items()), skip_unreadable), progress
    )


def load(root: str | Path, choices: LabelOptions, progress: Progress = no_progress) -> DatasetIndex:
    """`load_dataset` with everything that a person settled in one value."""
    place = resolve_root(root)
    format, layout = detect_format(place, choices.format)
    survey = MaskValueCounts()
    if needs_resolution(layout):
        survey, errors = count_mask_values(layout.records, progress)
        layout = replace(layout, issues=(*layout.issues, *map(_unreadable, errors)))
    notes = raise_on_fatal(place, layout.issues, choices.skip_unreadable)
    meaning = resolve_labels(layout, survey, choices)
    return build_index(place, format, layout, meaning, (*meaning.messages, *notes))


def _unreadable(error: DataError) -> DataIssue:
    file, _, what = str(error).partition(": ")
    return DataIssue("unreadable mask", file, what)


def resolve_root(root: str | Path) -> Path:
    """A path as pathlib knows it; a URL as fsspec does. DataError for a URL that nothing here can open."""
    if isinstance(root, str) and "://" in root:
        try:
            place = UPath(root)
            _ = place.fs
        except ImportError as error:
            extra = "pip install 'pixelwise[s3]'" if root.startswith("s3") else first_line(error)
            raise DataError(f"{root}: what opens such addresses is not installed ({extra})") from None
        except ValueError as error:
            raise DataError(f"{root}: {first_line(error)}") from None
        return place  # type: ignore[return-value]
    return root.expanduser() if isinstance(root, Path) else Path(root).expanduser()


def needs_resolution(layout: FormatResult) -> bool:
    """Whether what masks mean is still to be worked out from them."""
    return layout.label_map is None or (layout.label_map.kind != "polygons" and not layout.label_map.value_to_class)


def raise_on_fatal(root: Path, problems: Sequence[DataIssue], skip_unreadable: bool) -> list[str]:
    """Raise DataError for the first problem that a training cannot go on with; with `skip_unreadable`, a line that tells."""
    fatal = [problem for problem in problems if problem.severity == "error"]
    if not fatal:
        return []
    if not skip_unreadable:
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise DataError(f"{fatal[0]}{more}; pixelwise inspect lists all, `skip_unreadable` leaves them out")
    kinds = sorted({problem.kind for problem in fatal})
    such = printable(fatal[0].file)
    return [f"left out: {len(fatal)} file{'s' * (len(fatal) != 1)} ({', '.join(kinds)}), such as {such}"]


def build_index(
    root: Path, format: str, layout: FormatResult, meaning: ResolvedLabels, notes: Sequence[str] = (), bits: int = 16,
    channels: int | None = None,
) -> DatasetIndex:  # fmt: skip
    """The data set of a layout whose masks mean that; without `channels`, the first image is asked for them."""
    if not layout.records:
        raise DataError(f"{root}: no image with a mask was found here ({format})")
    train, val, test = (
        tuple(_translated(record, meaning) for record in split) for split in (layout.train, layout.val, layout.test)
    )
    reading = ReadSpec(meaning.label_map, channels or _channels(layout), bits)
    named: dict[str, int] = {}
    if meaning.label_map.kind in ("polygons", "multilabel"):
        named = dict(zip(layout.classes, meaning.source_to_class or range(len(layout.classes)), strict=True))
    return DatasetIndex(
        root, format, meaning.classes, meaning.palette, reading, train, val, test, tuple(notes), source_class_ids=named
    )  # fmt: skip


def _channels(layout: FormatResult) -> int:
    """The channels of the first image that can be read: all must have as many."""
    for record in layout.records:
        try:
            return count_channels(record.image)
        except DataError:
            continue
    return 3


def _translated(record: Record, meaning: ResolvedLabels) -> Record:
    """A record whose shapes or layers stand in the order of the classes."""
    if not meaning.source_to_class or meaning.source_to_class == tuple(range(len(meaning.source_to_class))):
        return record
    return replace(record, mask=_translated_mask(record.mask, meaning))


def _translated_mask(mask: MaskSource | None, meaning: ResolvedLabels) -> MaskSource | None:
    to = meaning.source_to_class

    def label(index: int) -> int:
        return index if index == IGNORE_INDEX else to[index]

    if isinstance(mask, PolygonMask):
        shapes = tuple(Annotation(label(each.label), each.polygons, each.rle, each.relative) for each in mask.annotations)
        return PolygonMask(shapes, mask.name, label(mask.background))
    if isinstance(mask, MultilabelMask):
        kept = {to[index]: image for index, image in enumerate(mask.channels) if to[index] != IGNORE_INDEX}
        return MultilabelMask(tuple(kept.get(index) for index in range(len(meaning.classes))))
    return mask
