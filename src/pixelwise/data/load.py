"""Loading of a data set: detect its format, resolve its label map, and index its records."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.band_ranges import measure_scale, scale_messages
from pixelwise.data.formats.registry import detect_data_set
from pixelwise.data.index import DatasetIndex, check_class_names
from pixelwise.data.io.image import count_channels, open_image, read_multiband_tiff
from pixelwise.data.io.image_windows import can_open_large
from pixelwise.data.io.remote import RemoteFile, open_url
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels, Unlabeled
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import MaskValueCounts, count_mask_values
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import DataIssue, FormatResult, MaskSource, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.errors import DataError, printable
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.files import expand_home
from pixelwise.runtime.progress import Progress, no_progress

LEFT_OUT = "left out: "
"""Prefix of the message about files that were left out."""


def load_dataset(
    root: str | Path | RemoteFile,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore_values: Sequence[str | int] = (),
    label_map: Mapping[str, str] | Mapping[int, str] | None = None,
    skip_unreadable: bool = False,
    instances: bool = False,
    unlabeled: Unlabeled = "background",
    line_width: float | None = None,
    allow_outside: bool = False,
    mask_files: str | None = None,
    progress: Progress = no_progress,
    nodata: float | None = None,
) -> DatasetIndex:
    """Load a data set: detect its format and its classes, and list the records of each split.

    If the format does not define the class of each mask value, all masks are read and the classes are inferred.

    Args:
        root: a folder, a table or JSON file that lists a data set, or the URL of a packed data set or a table.
        format: a name in `FORMATS`, or None to detect the format.
        classes: class names. If the data set names its classes, the names of those to keep. Otherwise the names of the
            mask values, in order.
        ignore_values: mask values, as numbers or text, or class names to ignore in training and evaluation.
        label_map: mask value or class name in the files → class name.
        skip_unreadable: leave out images and masks that cannot be used, with a message, instead of raising.
        instances: True if mask values are the numbers of objects, or if each mask file is one object. 0 is then the
            class "background", and every other value is the class "foreground".
        unlabeled: "ignore" if pixels of value 0 were never labeled, else "background".
        line_width: width in pixels of lines that annotation files give without a width. None leaves lines out.
        allow_outside: True to read files outside the data directory that a table or list names.
        mask_files: a glob pattern for the paths of the mask files below the data directory, such as "*_1stHO.png" or
            "*/1st_manual/*", if several files could be the mask of an image. None finds the masks.
        progress: shows progress while masks are read, see `Progress`.
        nodata: a value of the images' pixels that stands for no data, such as -9999, besides that of the tag
            GDAL_NODATA of TIFF files. Pixels without data in all channels are ignored.

    Returns:
        The index of the data set. Its `messages` list the decisions.

    Raises:
        DataError: The folder is missing or its format is unknown, an image has no mask or a file cannot be used (unless
            `skip_unreadable`), or masks are ambiguous.
        ConfigError: The options do not fit the data set.

    >>> load_dataset("oxford-iiit-pet/").classes  # doctest: +SKIP
    ('pet', 'background', 'border')
    """
    pairs = tuple((str(value), name) for value, name in (label_map or {}).items())
    options = LabelOptions(
        format, tuple(classes), tuple(map(str, ignore_values)), pairs, skip_unreadable, instances,
        unlabeled, line_width, allow_outside, mask_files, nodata,
    )  # fmt: skip
    return load_with_options(root, options, progress)


def load_with_options(
    root: str | Path | RemoteFile, options: LabelOptions, progress: Progress = no_progress
) -> DatasetIndex:
    """Load a data set, see `load_dataset`.

    Args:
        root: a folder, file or URL.
        options: the user's options.
        progress: see `Progress`.

    Returns:
        The index of the data set.

    Raises:
        DataError: See `load_dataset`.
        ConfigError: The options do not fit the data set.
    """
    path = resolve_root(root)
    format, result = detect_data_set(path, options)
    counts = MaskValueCounts()
    if needs_resolution(result):
        counts, errors = count_mask_values(result.records, progress)
        result = replace(result, issues=(*result.issues, *map(_unreadable_issue, errors)))
    messages = raise_on_fatal(path, result.issues, options.skip_unreadable)
    labels = resolve_labels(result, counts, options)
    _check_some_image(result.records)
    scale = measure_scale(result.train or result.records, options.nodata)
    messages = [*labels.messages, *scale_messages(scale), *messages]
    return build_index(path, format, result, labels, messages, scale)


def _unreadable_issue(error: DataError) -> DataIssue:
    file, _, message = str(error).partition(": ")
    return DataIssue("unreadable mask", file, message)


def _check_some_image(records: Sequence[Record]) -> None:
    """Raise DataError if the first, the middle and the last local image all cannot be opened, such as HEIC files."""
    paths = [record.image for record in records if isinstance(record.image, Path)]
    errors = []
    for path in dict.fromkeys(paths[index] for index in (0, len(paths) // 2, -1) if paths):
        try:
            if not can_open_large(path) and read_multiband_tiff(path) is None:
                open_image(path, lambda image: image.size)
            return
        except DataError as error:
            errors.append(error)
    if errors:
        more = f" (and other images too, of {len(paths)})" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")


def resolve_root(root: str | Path | RemoteFile) -> Path | RemoteFile:
    """Return the folder or file of a data set, with "~" expanded and URLs resolved.

    Raises:
        DataError: The package that opens the URL is not installed, or fsspec does not support the protocol.
        PixelwiseError: There is no home directory for "~".
    """
    if isinstance(root, RemoteFile):
        return root
    if isinstance(root, str) and "://" in root:
        return open_url(root)
    return expand_home(root)


def needs_resolution(result: FormatResult) -> bool:
    """Return True if the class of each mask value has to be inferred from the masks."""
    return result.label_map is None or (result.label_map.kind != "polygons" and not result.label_map.value_to_class)


def raise_on_fatal(root: Path | RemoteFile, issues: Sequence[DataIssue], skip_unreadable: bool) -> list[str]:
    """Raise the first issue of severity "error". Return messages about the other issues.

    Args:
        root: the data set.
        issues: all issues.
        skip_unreadable: True to return a message about the errors instead of raising.

    Returns:
        One line for each kind of warning. If there are errors, also one line with the number of files left out.

    Raises:
        DataError: There is an error and `skip_unreadable` is False.
    """
    lines = _warning_lines(issues)
    errors = [issue for issue in issues if issue.severity == "error"]
    if not errors:
        return lines
    if not skip_unreadable:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}; pixelwise inspect lists all, set `skip_unreadable` to leave them out")
    kinds = ", ".join(sorted({issue.kind for issue in errors}))
    plural = "s" * (len(errors) != 1)
    return [*lines, f"{LEFT_OUT}{len(errors)} file{plural} ({kinds}), for example {printable(errors[0].file)}"]


def _warning_lines(issues: Sequence[DataIssue]) -> list[str]:
    """Return one line for each kind of warning, with the first warning and the number of others."""
    by_kind: dict[str, list[DataIssue]] = {}
    for issue in issues:
        if issue.severity == "warning":
            by_kind.setdefault(issue.kind, []).append(issue)
    return [
        f"{found[0]}" + (f" (and {len(found) - 1} more: {kind})" if len(found) > 1 else "")
        for kind, found in by_kind.items()
    ]


def build_index(
    root: Path | RemoteFile,
    format: str,
    result: FormatResult,
    labels: ResolvedLabels,
    messages: Sequence[str] = (),
    scale: PixelScale = UNSCALED,
    channels: int | None = None,
) -> DatasetIndex:
    """Build the index of a data set from the result of its format and from its classes.

    Args:
        root: the folder, file or URL.
        format: name of the format.
        result: the records and the class names in the files.
        labels: the classes and the label map.
        messages: lines for the user.
        scale: the conversion of the images' pixels to 8 bits.
        channels: see `ReadSpec`. By default, those of the first image that can be read.

    Raises:
        DataError: There are no records, or a class name is empty or too long.
    """
    if not result.records:
        raise DataError(f"{root}: no image with a mask was found here ({format})")
    check_class_names(root, labels.classes)
    train, val, test = (
        tuple(_with_class_order(record, labels) for record in split)
        for split in (result.train, result.val, result.test)
    )
    source_class_ids: dict[str, int] = {}
    if labels.label_map.kind in ("polygons", "multilabel"):
        class_ids = labels.source_to_class or range(len(result.classes))
        source_class_ids = dict(zip(result.classes, class_ids, strict=True))
    read_spec = ReadSpec(labels.label_map, channels or _channels(result), masks_as_stored=labels.masks_as_stored)
    return DatasetIndex(
        root=root if isinstance(root, Path) else str(root),
        format=format,
        classes=labels.classes,
        palette=labels.palette,
        read_spec=read_spec.with_scale(scale),
        train=train,
        val=val,
        test=test,
        messages=tuple(messages),
        source_class_ids=source_class_ids,
        line_width=result.line_width,
        mask_files=result.mask_files,
    )


def _channels(result: FormatResult) -> int:
    """Return the number of channels of the first image that can be read, or 3 if none can.

    All images must have the same number.
    """
    for record in result.records:
        try:
            return count_channels(record.image)
        except DataError:
            continue
    return 3


def _with_class_order(record: Record, labels: ResolvedLabels) -> Record:
    """Convert the polygons or channels of a record to the class indices of `labels`."""
    order = labels.source_to_class
    if not order or order == tuple(range(len(order))):
        return record
    return replace(record, mask=reorder_classes(record.mask, order, len(labels.classes)))


def reorder_classes(mask: MaskSource | None, source_to_class: Sequence[int], count: int) -> MaskSource | None:
    """Convert polygons or the channels of a multi-label mask to other class indices. Return other masks unchanged.

    Args:
        mask: the mask.
        source_to_class: for each class index in `mask`, the new one, or 255 for "ignore".
        count: the new number of classes.
    """

    def class_id(index: int) -> int:
        return index if index == IGNORE_INDEX else source_to_class[index]

    if isinstance(mask, PolygonMask):
        annotations = tuple(replace(item, label=class_id(item.label)) for item in mask.annotations)
        base = mask.base
        if base is not None:
            base = replace(base, class_ids=tuple((value, class_id(index)) for value, index in base.class_ids))
        return PolygonMask(annotations, mask.name, class_id(mask.background), base)
    if isinstance(mask, MultilabelMask):
        channels = {class_id(index): source for index, source in enumerate(mask.channels)}
        return MultilabelMask(tuple(channels.get(index) for index in range(count)))
    return mask
