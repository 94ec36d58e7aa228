"""The classes and the usable records of a scanned data set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.data.analysis.dataset_scan import DatasetScan
from pixelwise.data.analysis.groups import add_groups
from pixelwise.data.analysis.raw_values import raw_value_labels
from pixelwise.data.band_ranges import scale_messages
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.load import build_index, raise_on_fatal
from pixelwise.data.schema import FormatResult, ReadSpec
from pixelwise.errors import DataError


def resolve_or_ask(
    root: Path | RemoteFile, format: str, result: FormatResult, scanned: DatasetScan, options: LabelOptions
) -> tuple[ResolvedLabels, DataError | None]:
    """Return the classes and None. If the classes are undecided, return the raw values and the error with the question.

    Args:
        root: the data set, for messages.
        format: name of its format.
        result: the records and the class names in its files.
        scanned: the statistics.
        options: the user's options.

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


def without_unusable(result: FormatResult, scanned: DatasetScan) -> FormatResult:
    """Return the format's result without the records that have errors."""
    unusable = {id(scanned.records[index]) for index in np.flatnonzero(scanned.images.unusable)}
    train, val, test = (
        tuple(record for record in split if id(record) not in unusable)
        for split in (result.train, result.val, result.test)
    )
    return replace(result, train=train, val=val, test=test)


def build_data(
    root: Path | RemoteFile,
    format: str,
    usable: FormatResult,
    scanned: DatasetScan,
    labels: ResolvedLabels,
    messages: Sequence[str],
) -> DatasetIndex:
    """Return the index of the data set with its groups. It may have no records.

    Args:
        root: the data set.
        format: name of its format.
        usable: the records that can be used.
        scanned: the statistics.
        labels: the classes.
        messages: lines for the user.

    Raises:
        DataError: A class name is empty or too long.
    """
    images = scanned.images
    if not usable.records:
        spec = ReadSpec(labels.label_map, images.channels).with_scale(images.read_scale)
        path = root if isinstance(root, Path) else str(root)
        return DatasetIndex(path, format, labels.classes, labels.palette, spec, messages=tuple(messages))
    messages = (*messages, *scale_messages(images.scale, images.nodata_fraction))
    data = build_index(root, format, usable, labels, messages, images.read_scale, images.channels)
    if not scanned.is_complete:
        return data
    train = scanned.indices(usable.train)
    return add_groups(data, images.thumbnails(train), images.digests(train))
