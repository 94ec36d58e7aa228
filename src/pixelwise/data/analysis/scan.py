"""One pass over the images and masks of a data set: the statistics of one record, and the loop over all records.

Workers return statistics instead of pixels, so the memory needed does not depend on the size of the images. This module
does not import torch.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pixelwise.data.analysis.image_scan import ImageStats, scan_image
from pixelwise.data.analysis.large_image import missing_pixels, scan_large_image
from pixelwise.data.analysis.mask_scan import MaskScan, scan_large_image_mask, scan_mask
from pixelwise.data.io.exif import exif_orientation
from pixelwise.data.io.image_windows import ImageWindows, open_large
from pixelwise.data.io.mask import drawing_size
from pixelwise.data.io.rgb import UNSCALED
from pixelwise.data.label_map.mask_stats import with_orientation
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import DataIssue, MaskSource, MultilabelMask, PolygonMask, Record
from pixelwise.errors import DataError, WorkerCrashedError, without_name
from pixelwise.runtime.process_pool import process_map
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import available_cpus, batched, prefetch_map

MIN_RECORDS_FOR_PROCESSES = 200
"""Minimum number of records for worker processes. Fewer are scanned by threads, which start faster."""

RECORDS_PER_BATCH = 32
"""Number of records per task of a worker process."""

MAX_PICKLED_BYTES = 1 << 16
"""Maximum size of a pickled record for worker processes. Larger ones are scanned by threads, to avoid the transfer."""


@dataclass(frozen=True, eq=False)
class RecordStats:
    """The statistics of one record.

    Attributes:
        image: the statistics of the image, or None if it cannot be read.
        mask: the statistics of the mask, or None if it is missing or cannot be read.
        issues: the faults of the files. A record with a fault is unusable.
    """

    image: ImageStats | None
    mask: MaskScan | None = None
    issues: tuple[DataIssue, ...] = ()


def scan(
    records: Sequence[Record],
    progress: Progress = no_progress,
    workers: int | None = None,
    scale: PixelScale = UNSCALED,
) -> Iterator[tuple[Record, RecordStats]]:
    """Read the image and mask of every record once.

    Args:
        records: the records to read.
        progress: see `Progress`.
        workers: number of worker processes. 0 uses threads, None one process per available CPU. Threads are always
            used for fewer than `MIN_RECORDS_FOR_PROCESSES` records, and if the first record cannot be pickled to less
            than `MAX_PICKLED_BYTES`.
        scale: the conversion of the images' pixels, see `scan_image`.

    Yields:
        Each record with its statistics, in order. Faults of files are in `RecordStats.issues`.

    Raises:
        DataError: A worker process died.
    """
    workers = available_cpus() if workers is None else workers
    if len(records) < MIN_RECORDS_FOR_PROCESSES or workers < 1 or not _pickles_small(records[0]):
        yield from progress(
            zip(records, prefetch_map(partial(scan_record, scale=scale), records), strict=True), len(records)
        )
    else:
        yield from progress(_scan_in_processes(records, workers, scale), len(records))


def _pickles_small(record: Record) -> bool:
    """Return True if a record can be pickled to less than `MAX_PICKLED_BYTES`."""
    try:
        return len(pickle.dumps(record)) < MAX_PICKLED_BYTES
    except Exception:  # libraries raise different errors for objects that cannot be pickled
        return False


def _scan_in_processes(
    records: Sequence[Record], workers: int, scale: PixelScale
) -> Iterator[tuple[Record, RecordStats]]:
    done = 0
    try:
        for batch, stats in process_map(partial(scan_batch, scale=scale), batched(records, RECORDS_PER_BATCH), workers):
            yield from zip(batch, stats, strict=True)
            done += len(batch)
    except WorkerCrashedError as error:
        last = records[min(done + RECORDS_PER_BATCH, len(records)) - 1]
        raise DataError(
            f"{records[done].image}: {error} at this image or one of the {RECORDS_PER_BATCH} up to {last.image.name}; "
            "close other programs and try again, or remove huge images"
        ) from None


def scan_batch(records: list[Record], scale: PixelScale = UNSCALED) -> list[RecordStats]:
    """Return the statistics of several records, see `scan_record`. Worker processes call this."""
    return [scan_record(record, scale) for record in records]


def scan_record(record: Record, scale: PixelScale = UNSCALED) -> RecordStats:
    """Return the statistics and faults of a record's files. Each file is decoded once.

    Args:
        record: the record.
        scale: the conversion of the image's pixels, see `scan_image`.
    """
    windows = open_large(record.image)
    if windows is None:
        return _scan_files(record, scale, None)
    with windows:
        return _scan_files(record, scale, windows)


def _scan_files(record: Record, scale: PixelScale, windows: ImageWindows | None) -> RecordStats:
    """Return the statistics of a record, see `scan_record`.

    Args:
        record: the record.
        scale: the conversion of the image's pixels.
        windows: the open image if it is large. It is then read by windows, and so is its mask if its file allows it.
    """
    issues = []
    image = missing = None
    try:
        if windows is None:
            image, missing = scan_image(record.image, scale)
        else:
            image = scan_large_image(windows, scale)
    except DataError as error:
        issues.append(_unreadable_issue("image", record.image, error))
    if record.mask is None:
        issues.append(DataIssue("missing mask", str(record.image), "has no mask; add one or remove the image"))
        return RecordStats(image, issues=tuple(issues))
    if isinstance(record.mask, PolygonMask | MultilabelMask) and image is None:  # their size is that of the image
        return RecordStats(None, issues=tuple(issues))
    try:
        size = None if image is None else drawing_size(record, image.size)
        if windows is None:
            mask = scan_mask(record.mask, size, missing)
        else:
            lacks_data = image is not None and image.nodata_fraction > 0
            mask = scan_large_image_mask(
                record.mask, size, partial(missing_pixels, windows, scale) if lacks_data else None
            )
    except DataError as error:
        issues.append(_unreadable_issue("mask", record.mask, error))
        return RecordStats(image, issues=tuple(issues))
    mask = replace(mask, stats=with_orientation(mask.stats, record))
    if image is not None and mask.stats.size != image.size and not _fits_stored_pixels(record, image.size, mask):
        issues.append(_size_issue(record, image.size, mask.stats.size))
    return RecordStats(image, mask, tuple(issues))


def _unreadable_issue(role: str, source: MaskSource, error: DataError) -> DataIssue:
    message = without_name(error, source)
    fault = "truncated" if message.startswith("truncated") else "unreadable"
    return DataIssue(f"{fault} {role}", str(source), message)


def _fits_stored_pixels(record: Record, image_size: tuple[int, int], mask: MaskScan) -> bool:
    """Return True if the mask has the size that the image has before its EXIF orientation is applied."""
    is_exchanged = mask.stats.size == (image_size[1], image_size[0])
    return mask.stats.orientation == "stored" or (is_exchanged and exif_orientation(record.image) >= 5)


def _size_issue(record: Record, image_size: tuple[int, int], mask_size: tuple[int, int]) -> DataIssue:
    (height, width), (mask_height, mask_width) = image_size, mask_size
    message = (
        f"image is {width}x{height} but its mask {record.mask} is {mask_width}x{mask_height}; "
        "both must have the same size"
    )
    return DataIssue("size mismatch", str(record.image), message)
