"""The report on a data set: image sizes, classes, faults and groups. It needs one pass over all images and masks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pixelwise.data.analysis.checks import (
    NOTHING_USABLE,
    UNDECIDED,
    check_images,
    check_masks,
    check_partial_labels,
    check_rare_classes,
    find_obstacle,
)
from pixelwise.data.analysis.class_stats import ClassStats, Percentiles, class_stats
from pixelwise.data.analysis.dataset_scan import DatasetScan, scan_dataset
from pixelwise.data.analysis.groups import add_groups
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.analysis.raw_values import raw_value_labels
from pixelwise.data.formats import detect_data_set
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels, Unlabeled
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.load import build_index, raise_on_fatal, range_messages, resolve_root
from pixelwise.data.schema import DataIssue, FormatResult, ReadSpec
from pixelwise.errors import DataError, without_name
from pixelwise.runtime.progress import Progress, no_progress


@dataclass(frozen=True)
class DatasetReport:
    """The result of `inspect`.

    Attributes:
        data: the data set, ready for training: without unusable records, with groups and bit depth.
        image_count, mask_count: numbers of readable files.
        widths, heights: image sizes in pixels.
        aspect_ratios: image width divided by height.
        classes: the statistics of each class, in index order.
        ignored_fraction: fraction of all pixels that are ignored, in [0, 1].
        issues: all faults.
        channel_means, channel_stds: mean and standard deviation of each channel over all images, in [0, 255].
        modes: Pillow's pixel mode ("RGB", "L"), or the number of bands ("5 bands") → number of images.
        seconds: duration of the inspection in seconds.
        allow_outside: True if the user allowed files outside the data directory, which a training then needs as well.
    """

    data: DatasetIndex
    image_count: int
    mask_count: int
    widths: Percentiles | None
    heights: Percentiles | None
    aspect_ratios: Percentiles | None
    classes: tuple[ClassStats, ...]
    ignored_fraction: float
    issues: tuple[DataIssue, ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    modes: Mapping[str, int] = field(default_factory=dict)
    obstacle: str = ""
    seconds: float = 0.0
    allow_outside: bool = False

    @property
    def is_decided(self) -> bool:
        """False if the masks can be read in more than one way or not at all."""
        return not self.data.undecided


def inspect(
    root: str | Path | RemoteFile,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore_values: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    skip_unreadable: bool = False,
    instances: bool = False,
    unlabeled: Unlabeled = "background",
    line_width: float | None = None,
    allow_outside: bool = False,
    progress: Progress = no_progress,
) -> DatasetReport:
    """Read every image and mask of a data set once, in parallel, and compute statistics.

    Remote shards are sampled: about 2000 images are read.

    Args:
        root: the data set, see `load_dataset`.
        format: a name in `FORMATS`, or None to detect the format.
        classes: if the data set names its classes, the names to keep. Otherwise a name for each mask value, in order.
        ignore_values: mask values or class names to ignore in training and evaluation.
        label_map: mask value or class name in the files → class name.
        skip_unreadable: report on all images and masks that cannot be used, and on ambiguous masks. If False, the first
            of them raises an error.
        instances: mask values are the numbers of objects: 0 is background, every other value is the class "foreground".
        unlabeled: "ignore" if pixels of value 0 were never labeled, else "background".
        line_width: width in pixels of lines in annotation files. None leaves lines out.
        allow_outside: read files outside the data directory that a table or list names.
        progress: see `Progress`.

    Returns:
        The report. `report.data` is the data set, ready for training.

    Raises:
        DataError: See `load_dataset`. With `skip_unreadable`: the folder is missing, or of no known format, or has no
            image with a mask.
        ConfigError: The options do not fit the data set.

    >>> inspect("images/", skip_unreadable=True).classes[0].pixel_fraction  # doctest: +SKIP
    0.62
    """
    options = LabelOptions.of(
        format,
        classes,
        ignore_values,
        label_map,
        skip_unreadable,
        instances,
        unlabeled,
        line_width,
        allow_outside,
    )
    return inspect_with_options(root, options, progress)


def inspect_with_options(
    root: str | Path | RemoteFile, options: LabelOptions, progress: Progress = no_progress
) -> DatasetReport:
    """Inspect a data set, see `inspect`.

    Args:
        root: the data set, see `load_dataset`.
        options: the user's options.
        progress: see `Progress`.

    Returns:
        The report.

    Raises:
        DataError: See `inspect`.
        ConfigError: See `inspect`.
    """
    started = time.perf_counter()
    root = resolve_root(root)
    format, result = detect_data_set(root, options)
    raise_on_fatal(root, result.issues, options.skip_unreadable)
    scanned = scan_dataset(result, progress)
    labels, question = _resolve(root, format, result, scanned, options)
    classes = scanned.masks.resolve(labels)
    messages = [*labels.messages, *scanned.messages, *check_images(scanned, result)]
    if question is None:
        check_masks(scanned, classes, labels.classes)
    else:
        classes.drop(classes.mask_pixels(len(scanned.records)) == 0)  # masks that cannot be read
    file_issues = (*result.issues, *scanned.images.issues)
    errors = [issue for issue in file_issues if issue.severity == "error"]  # warnings are problems of the report
    messages += raise_on_fatal(root, errors, options.skip_unreadable)
    usable = _without_unusable(result, scanned)
    data = _build_data(root, format, usable, scanned, labels, messages)
    if question is not None:
        message = without_name(question, root)
        is_readable = scanned.images.modes and scanned.value_counts.mask_counts
        findings = [DataIssue(UNDECIDED if is_readable else NOTHING_USABLE, str(root), message)]
        obstacle = str(question)
        data = replace(data, undecided=obstacle)
    else:
        findings, obstacle = find_obstacle(data, usable, result, scanned, classes)
        findings += check_partial_labels(scanned, classes, labels, str(root))
    report = _build_report(data, usable, scanned, classes, started)
    if question is None:
        findings += check_rare_classes(report.classes, data, len(scanned.records), labels)
    issues = (*findings, *labels.issues, *file_issues)
    return replace(report, issues=issues, obstacle=obstacle, allow_outside=options.allow_outside)


def _resolve(
    root: Path | RemoteFile, format: str, result: FormatResult, scanned: DatasetScan, options: LabelOptions
) -> tuple[ResolvedLabels, DataError | None]:
    """Return the classes; or, if they are not decided, the raw values and the error that states the question.

    Raises:
        DataError: The classes are not decided, and `options.skip_unreadable` is False or there is nothing to report.
        ConfigError: The options do not fit the data set.
    """
    try:
        _check_any_pair(root, format, result, scanned, options.skip_unreadable)
        return resolve_labels(result, scanned.value_counts, options), None
    except DataError as error:
        if not options.skip_unreadable or not (scanned.records or result.issues):
            raise
        return raw_value_labels(scanned.value_counts), error


def _check_any_pair(
    root: Path | RemoteFile, format: str, result: FormatResult, scanned: DatasetScan, skip_unreadable: bool
) -> None:
    """Raise DataError if no image or no mask can be read."""
    if scanned.images.modes and scanned.value_counts.mask_counts:
        return
    issues = [*scanned.images.issues, *result.issues]
    raise_on_fatal(root, issues, skip_unreadable)
    if issues:
        role = "mask" if scanned.images.modes else "image"
        raise DataError(f"{root}: no {role} can be used, for example {issues[0]}")
    raise DataError(f"{root}: no image with a mask was found here ({format})")


def _without_unusable(result: FormatResult, scanned: DatasetScan) -> FormatResult:
    """Return the format's result without the records that have errors."""
    unusable = {id(scanned.records[index]) for index in np.flatnonzero(scanned.images.unusable)}
    train, val, test = (
        tuple(record for record in split if id(record) not in unusable)
        for split in (result.train, result.val, result.test)
    )
    return replace(result, train=train, val=val, test=test)


def _build_data(
    root: Path | RemoteFile,
    format: str,
    usable: FormatResult,
    scanned: DatasetScan,
    labels: ResolvedLabels,
    messages: Sequence[str],
) -> DatasetIndex:
    """Return the data set with its groups, also if it has no records."""
    images = scanned.images
    if not usable.records:
        spec = ReadSpec(labels.label_map, images.channels, images.bit_depth, pixel_range=images.pixel_range)
        path = root if isinstance(root, Path) else str(root)
        return DatasetIndex(path, format, labels.classes, labels.palette, spec, messages=tuple(messages))
    messages = (*messages, *range_messages(images.pixel_range))
    data = build_index(root, format, usable, labels, messages, images.bit_depth, images.channels, images.pixel_range)
    if not scanned.is_complete:
        return data
    train = scanned.indices(usable.train)
    return add_groups(data, images.thumbnails(train), images.digests(train))


def _build_report(
    data: DatasetIndex, usable: FormatResult, scanned: DatasetScan, classes: ClassStatsTable, started: float
) -> DatasetReport:
    final = {id(old): new for old, new in zip(usable.records, data.train + data.val + data.test, strict=True)}
    test = {id(record) for record in usable.test} if usable.train or usable.val else set()
    not_test = np.array([id(record) not in test for record in scanned.records])
    stats, ignored_fraction = class_stats(
        data, classes, [final.get(id(record)) for record in scanned.records], scanned.images, not_test
    )
    widths, heights = scanned.images.sizes
    means, stds = scanned.images.channel_stats()
    return DatasetReport(
        data=data,
        image_count=len(widths),
        mask_count=scanned.value_counts.mask_counts.total(),
        widths=Percentiles.of(widths) if len(widths) else None,
        heights=Percentiles.of(heights) if len(widths) else None,
        aspect_ratios=Percentiles.of(widths / heights) if len(widths) else None,
        classes=stats,
        ignored_fraction=ignored_fraction,
        issues=(),
        channel_means=means,
        channel_stds=stds,
        modes=dict(scanned.images.modes.most_common()),
        seconds=time.perf_counter() - started,
    )
