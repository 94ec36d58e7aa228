"""The report on a data set: sizes, classes, faults and groups, from one pass over all images and masks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pixelwise.data.analysis.class_stats import ClassStats, Percentiles, class_stats
from pixelwise.data.analysis.groups import add_groups
from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import ClassStatsTable, MaskStatsTable
from pixelwise.data.analysis.scan import scan
from pixelwise.data.formats import detect_format
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.io.tar_shard import TarMember
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.data.load import build_index, raise_on_fatal, resolve_root
from pixelwise.data.schema import SPLITS, DataIssue, DatasetIndex, FormatResult, Record
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress

MAX_REMOTE_IMAGES = 2000
"""Remote shards are sampled: about this many images are scanned, because `pack` has already validated all of them."""


@dataclass(frozen=True)
class DatasetReport:
    """The result of `inspect`.

    Attributes:
        data: the data set, ready for training: without unusable records, with groups and bit depth.
        image_count, mask_count: numbers of readable files.
        widths, heights: image sizes in pixels.
        aspect_ratios: width divided by height.
        classes: the statistics of each class, in index order.
        ignored_fraction: fraction of all pixels that are ignored, in [0, 1].
        issues: all faults, by file.
        channel_means, channel_stds: of each channel over all images, in [0, 255].
        modes: Pillow's pixel mode ("RGB", "L"), or "5 bands" → number of images.
        seconds: duration of the inspection.
    """

    data: DatasetIndex
    image_count: int
    mask_count: int
    widths: Percentiles
    heights: Percentiles
    aspect_ratios: Percentiles
    classes: tuple[ClassStats, ...]
    ignored_fraction: float
    issues: tuple[DataIssue, ...]
    channel_means: tuple[float, ...]
    channel_stds: tuple[float, ...]
    modes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def inspect(
    root: str | Path | RemoteFile,
    format: str | None = None,
    classes: Sequence[str] = (),
    ignore_values: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    skip_unreadable: bool = False,
    progress: Progress = no_progress,
) -> DatasetReport:
    """Read every image and mask of a data set once, in parallel, and report on them.

    Of shards on another machine, about `MAX_REMOTE_IMAGES` images are read.

    Args:
        root: the data set, see `load_dataset`.
        format: a name in `FORMATS`, or None to detect the format.
        classes: class names: those to keep if the data set names its classes, else the names of the values in order.
        ignore_values: mask values or class names to ignore in training and evaluation.
        label_map: mask value or class name in the files → class name.
        skip_unreadable: leave out images and masks that cannot be used. If False, the first one raises an error.
        progress: see `Progress`.

    Returns:
        The report. `report.data` is the data set, ready for training.

    Raises:
        DataError: See `load_dataset`. Or no image can be used.
        ConfigError: The options do not fit the data set.

    >>> inspect("images/", skip_unreadable=True).classes[0].pixel_fraction  # doctest: +SKIP
    0.62
    """
    pairs = tuple((label_map or {}).items())
    options = LabelOptions(format, tuple(classes), tuple(ignore_values), pairs, skip_unreadable)
    return inspect_with_options(root, options, progress)


def inspect_with_options(
    root: str | Path | RemoteFile, options: LabelOptions, progress: Progress = no_progress
) -> DatasetReport:
    """Read and report on a data set, see `inspect`.

    Args:
        root: the data set, see `load_dataset`.
        options: the user's options.
        progress: see `Progress`.
    """
    started = time.perf_counter()
    root = resolve_root(root)
    format, result = detect_format(root, options.format)
    raise_on_fatal(root, result.issues, options.skip_unreadable)
    scanned = _scan_records(result, progress)
    _check_any_pair(root, format, result, scanned)
    labels = resolve_labels(result, scanned.value_counts, options)
    classes = scanned.masks.resolve(labels)
    _add_dataset_issues(scanned, classes, result, labels.classes)
    issues = (*result.issues, *scanned.images.issues)
    messages = [*labels.messages, *scanned.messages, *raise_on_fatal(root, issues, options.skip_unreadable)]
    usable = _without_unusable(result, scanned)
    if not usable.records:
        raise DataError(f"{root}: no image can be used: {issues[0]}")
    images = scanned.images
    data = build_index(root, format, usable, labels, messages, images.bit_depth, images.channels)
    if scanned.is_complete:
        train = scanned.indices(usable.train)
        data = add_groups(data, images.thumbnails(train), images.digests(train))
    return _build_report(data, usable, scanned, classes, issues, started)


@dataclass(frozen=True)
class _Scan:
    """The statistics of the scanned records.

    Attributes:
        records: the records, in the order of the tables.
        is_complete: False if only a sample of the data set was scanned.
        messages: for the user.
    """

    records: tuple[Record, ...]
    is_complete: bool
    messages: tuple[str, ...]
    images: ImageStatsTable = field(default_factory=ImageStatsTable)
    masks: MaskStatsTable = field(default_factory=MaskStatsTable)
    value_counts: MaskValueCounts = field(default_factory=MaskValueCounts)

    def indices(self, records: Sequence[Record]) -> list[int]:
        """Return the index of each record in the tables."""
        by_id = {id(record): index for index, record in enumerate(self.records)}
        return [by_id[id(record)] for record in records]


def _scan_records(result: FormatResult, progress: Progress) -> _Scan:
    records, message = _select_records(result)
    scanned = _Scan(records, is_complete=not message, messages=(message,) if message else ())
    for index, (record, stats) in enumerate(scan(records, progress)):
        scanned.images.add(stats)
        if stats.mask is not None and record.mask is not None:
            scanned.value_counts.add(record.mask, stats.mask.stats)
            scanned.masks.add(index, stats.mask)
    return scanned


def _select_records(result: FormatResult) -> tuple[tuple[Record, ...], str]:
    """Return the records to scan. If these are a sample of remote shards, also return a message."""
    shards: dict[str, list[Record]] = {}
    for record in result.records:
        if not isinstance(record.image, TarMember) or record.image.shard.is_local:
            return result.records, ""
        shards.setdefault(record.image.shard.url, []).append(record)
    total = len(result.records)
    # Shards are downloaded whole. Evenly spaced shards come from all splits.
    count = max(1, len(shards) * MAX_REMOTE_IMAGES // total) if total > MAX_REMOTE_IMAGES else len(shards)
    urls = [list(shards)[number * len(shards) // count] for number in range(count)]
    records = tuple(record for url in urls for record in shards[url])
    if len(records) == total:
        return records, ""
    return records, f"scanned: {len(records)} of {total} images, in {len(urls)} of {len(shards)} shards"


def _check_any_pair(root: Path | RemoteFile, format: str, result: FormatResult, scanned: _Scan) -> None:
    """Raise DataError if no image or no mask can be read."""
    if not (scanned.images.modes and scanned.value_counts.mask_counts):
        raise_on_fatal(root, scanned.images.issues or result.issues, skip_unreadable=False)
        raise DataError(f"{root}: no image with a mask was found here ({format})")


def _add_dataset_issues(
    scanned: _Scan, classes: ClassStatsTable, result: FormatResult, class_names: Sequence[str]
) -> None:
    """Add the issues that need the whole data set (unknown values, duplicates, empty masks).

    The statistics of records with errors are dropped.
    """
    images, records = scanned.images, scanned.records
    images.check_channels(records)
    for index, text in classes.unknown_values().items():
        message = f"{text} is outside the classes; fix the mask, or set `label_map` or `ignore_values`"
        images.add_issue(index, DataIssue("value outside", str(records[index].mask), message))
    classes.drop(images.unusable)
    split_of = {id(record): split for split in SPLITS for record in getattr(result, split)}
    images.find_duplicates(records, [split_of[id(record)] for record in records])
    present = classes.presence(len(records), len(class_names))
    foreground = present[:, [index for index, name in enumerate(class_names) if name != "background"]]
    for index in np.flatnonzero(~foreground.any(1) & ~images.unusable).tolist():
        fault = "has no pixel except background" if present[index].any() else "has no pixel of any class"
        file = str(records[index].mask) or str(records[index].image)  # a multi-label mask without files has no name
        images.add_issue(index, DataIssue("empty mask", file, f"{fault}; check that this is right", "warning"))


def _without_unusable(result: FormatResult, scanned: _Scan) -> FormatResult:
    """Return the format's result without the records that have errors."""
    unusable = {id(scanned.records[index]) for index in np.flatnonzero(scanned.images.unusable)}
    train, val, test = (
        tuple(record for record in split if id(record) not in unusable)
        for split in (result.train, result.val, result.test)
    )
    return replace(result, train=train, val=val, test=test)


def _build_report(
    data: DatasetIndex,
    usable: FormatResult,
    scanned: _Scan,
    classes: ClassStatsTable,
    issues: tuple[DataIssue, ...],
    started: float,
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
        widths=Percentiles.of(widths),
        heights=Percentiles.of(heights),
        aspect_ratios=Percentiles.of(widths / heights),
        classes=stats,
        ignored_fraction=ignored_fraction,
        issues=issues,
        channel_means=means,
        channel_stds=stds,
        modes=dict(scanned.images.modes.most_common()),
        seconds=time.perf_counter() - started,
    )
